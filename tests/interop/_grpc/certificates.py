"""A test CA and a server's certificate, named as the official suite names its own.

The official ones are files in grpc/grpc (src/core/tsi/test_creds); these are made by the openssl
program each time, so that they never expire.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: What clients expect of the certificate: `--server_host_override`.
SERVER_NAME = "foo.test.google.fr"

_NAMES = (
    "subjectAltName=DNS:*.test.google.fr,DNS:waterzooi.test.google.be,DNS:*.test.youtube.com,"
    "IP:192.168.1.3"
)
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificates:
    """Where they are."""

    ca: Path
    chain: Path
    key: Path

    def client_flags(self) -> list[str]:
        """For clients, ours and grpc-go's: both have `--ca_file`."""
        override = f"--server_host_override={SERVER_NAME}"
        return ["--use_tls=true", "--use_test_ca=true", f"--ca_file={self.ca}", override]

    def server_flags(self) -> list[str]:
        """For servers, ours and grpc-go's."""
        files = [f"--tls_cert_file={self.chain}", f"--tls_key_file={self.key}"]
        return ["--use_tls=true", *files]


def make_certificates(folder: Path) -> Certificates:
    """Write them into `folder`. Raises OSError or CalledProcessError without an openssl program."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    chain, key = folder / "server1.pem", folder / "server1.key"
    extension = folder / "names.cnf"
    extension.write_text(f"{_NAMES}\nbasicConstraints=CA:FALSE\n")
    request = folder / "server1.csr"
    openssl("req", "-x509", *_KEY, "-subj", "/CN=testca", "-keyout", ca_key, "-out", ca)
    openssl("req", *_KEY, "-subj", "/CN=*.test.google.com", "-keyout", key, "-out", request)
    signing = ("-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", request, *signing, "-extfile", extension, "-out", chain)
    return Certificates(ca, chain, key)


def openssl(*arguments: object) -> None:
    """Run the program."""
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
