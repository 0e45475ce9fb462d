"""A throw-away certificate for 127.0.0.1 and localhost, made by the openssl program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

CERTIFICATE = "cert.pem"
KEY = "key.pem"


def have_openssl() -> bool:
    """Whether certificates can be made here."""
    return shutil.which("openssl") is not None


def make_certificate(directory: Path) -> None:
    """Write a self-signed certificate and its key into `directory`."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subprocess.run(
        [
            *command.split(),
            *("-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(directory / KEY), "-out", str(directory / CERTIFICATE)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


def server_context(directory: Path) -> ssl.SSLContext:
    """For servers with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context


def client_context(directory: Path) -> ssl.SSLContext:
    """For clients that trust that certificate and nothing else."""
    return ssl.create_default_context(cafile=str(directory / CERTIFICATE))
