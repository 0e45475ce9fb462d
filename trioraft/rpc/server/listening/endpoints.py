"""Where a server listens, as its application says it: small objects, or the same as text.

| text | object | |
|---|---|---|
| `tcp:HOST:PORT`, `HOST:PORT` | `Tcp("HOST", PORT)` | all of HOST; `tcp::PORT`: every interface |
| `tls:HOST:PORT` | `Tcp("HOST", PORT, tls=context)` | with the server's `ssl_context` |
| `unix:PATH`, `unix:///PATH` | `Unix("PATH")` | a stale socket file is replaced |
| `unix-abstract:NAME` | `UnixAbstract("NAME")` | Linux; goes away by itself |
| `systemd`, `systemd:NAME` | `Systemd("NAME")` | sockets that systemd has bound; see `systemd.py` |
| | `Bound(sock)` | a socket that the application has bound |
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trioraft.rpc.tls.contexts import ServerSecurity

__all__ = ["Bound", "Endpoint", "Systemd", "Tcp", "Unix", "UnixAbstract", "parse_endpoint"]

#: Longest path or abstract name of a Unix socket on Linux, in bytes (unix(7)).
MAX_PATH = 107


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP port.

    Attributes:
        host: Name or address; `""` is every interface. All addresses of a name are bound.
        port: 0 lets the system choose.
        tls: Serve TLS with this; None is plain text.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    tls: ServerSecurity | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ValueError(f"{self.port} is not a port")


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix socket in the file system.

    Attributes:
        path: The file. One that nobody listens on is replaced; it is removed at the end.
        mode: Permissions of the file, such as 0o600; None leaves what the umask gives. They are
            set before the first connection can be made.
        tls: As `Tcp.tls`.
    """

    path: str
    mode: int | None = None
    tls: ServerSecurity | None = None

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True, slots=True)
class UnixAbstract:
    """A Unix socket in Linux's abstract namespace: without a file, and without permissions."""

    name: str
    tls: ServerSecurity | None = None

    def __post_init__(self) -> None:
        _check_path(self.name)


@dataclass(frozen=True, slots=True)
class Bound:
    """A stream socket that is bound already, listening or not. The server closes it at the end."""

    sock: socket.socket
    tls: ServerSecurity | None = None


@dataclass(frozen=True, slots=True)
class Systemd:
    """Sockets handed over by systemd: those with this `FileDescriptorName=`, or all of them."""

    name: str | None = None
    tls: ServerSecurity | None = None


Endpoint: TypeAlias = Tcp | Unix | UnixAbstract | Bound | Systemd


def parse_endpoint(text: str, tls: ServerSecurity | None = None) -> Endpoint:
    """Read one of the forms above.

    Args:
        tls: What `tls:` serves with.

    Raises:
        ValueError: It is none of them, or `tls:` without `tls`; the message says what is wrong.
    """
    scheme, colon, rest = text.partition(":")
    if scheme == "systemd":
        if colon and not rest:
            raise ValueError(f"listen {text!r}: expected systemd or systemd:NAME")
        return Systemd(rest or None)
    if colon and scheme == "unix":
        if rest.startswith("//") and not rest.startswith("///"):
            raise ValueError(f"listen {text!r}: expected unix:PATH or unix:///PATH")
        return Unix(rest[2:] if rest.startswith("///") else rest)
    if colon and scheme == "unix-abstract":
        return UnixAbstract(rest)
    if colon and scheme == "tls":
        if tls is None:
            raise ValueError(
                f"listen {text!r}: TLS needs a certificate: ssl_context=server_tls(...)"
            )
        return Tcp(*_host_and_port(rest, text), tls)
    return Tcp(*_host_and_port(rest if colon and scheme == "tcp" else text, text))


def _host_and_port(address: str, text: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(
            f"listen {text!r}: expected HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT, unix:PATH, "
            "unix-abstract:NAME or systemd"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"listen {text!r}: write an IPv6 address as [address]:port")
    return host, int(port)


def _check_path(path: str) -> None:
    if not path or "\0" in path or len(path.encode()) > MAX_PATH:
        raise ValueError(
            f"a Unix socket's name has 1 to {MAX_PATH} bytes, none of them zero: {path!r}"
        )
