"""Certificates, made with the openssl program: an authority, and what it has signed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Signed:
    """PEM files of a certificate and its key."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates."""

    def __init__(self, openssl: str, folder: Path) -> None:
        self._openssl = openssl
        self._folder = folder
        self.cert, self._key = folder / "ca.pem", folder / "ca.key"
        self._run(
            *("req", "-x509", *_CURVE, "-subj", "/O=Test/CN=authority"),
            *("-keyout", str(self._key), "-out", str(self.cert)),
        )

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True)

    def sign(self, name: str, alternatives: str = "DNS:localhost,IP:127.0.0.1") -> Signed:
        """A certificate for `/O=Test/CN=name`; one of the same name before is replaced."""
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\n")
        self._run(
            *("req", *_CURVE[:-2], "-subj", f"/O=Test/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        self._run(
            *("x509", "-req", "-in", str(request), "-days", "2", "-CA", str(self.cert)),
            *("-CAkey", str(self._key), "-extfile", str(extensions), "-out", str(cert)),
        )
        return Signed(cert, key)
