"""Targets, as gRPC writes them, and how to reach one.

`host:port`, `ipv4:1.2.3.4:port[,...]`, `ipv6:[::1]:port[,...]`, `dns:host:port`, `dns:///host:port`,
`unix:path`, `unix:///absolute/path`, `unix-abstract:name`.
Source: gRPC Name Resolution (naming.md).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio

#: Opens a byte stream to the server; raises OSError when it cannot.
Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]

_DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel connects to.

    Attributes:
        authority: What goes into `:authority`.
        addresses: `(host, port)` to try in order; empty for a Unix socket.
        path: The Unix socket, with a leading NUL if abstract; empty for TCP.
    """

    authority: str
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""

    @property
    def server_name(self) -> str:
        """The name that a TLS certificate must have."""
        return self.addresses[0][0] if self.addresses else "localhost"


def parse_target(target: str) -> Target:
    """Parse a target.

    Raises:
        ValueError: It is none of the forms above; the message says what is wrong.
    """
    scheme, colon, rest = target.partition(":")
    if colon and scheme == "unix":
        path = rest[2:] if rest.startswith("///") else rest
        if not path or (rest.startswith("//") and not rest.startswith("///")):
            raise ValueError(f"target {target!r}: expected unix:path or unix:///path")
        return Target("localhost", path=path)
    if colon and scheme == "unix-abstract" and rest:
        return Target("localhost", path="\0" + rest)
    if colon and scheme in ("ipv4", "ipv6"):
        addresses = tuple(_literal(part, scheme, target) for part in rest.split(","))
        return Target(_authority(*addresses[0]), addresses)
    if colon and scheme == "dns":
        if rest.startswith("//"):
            # dns://resolver/name: the resolver is the system's, so only an empty one is ours.
            resolver, _, rest = rest[2:].partition("/")
            if resolver:
                raise ValueError(f"target {target!r}: no DNS server can be chosen here")
    elif "://" in target:
        raise ValueError(f"target {target!r}: unknown scheme {scheme!r}")
    else:
        rest = target
    address = _split(rest, target)
    return Target(_authority(*address), (address,))


def _literal(part: str, scheme: str, target: str) -> tuple[str, int]:
    host, port = _split(part, target)
    kind = ipaddress.IPv4Address if scheme == "ipv4" else ipaddress.IPv6Address
    try:
        kind(host)
    except ValueError:
        raise ValueError(f"target {target!r}: {host!r} is not an {scheme} address") from None
    return host, port


def _split(address: str, target: str) -> tuple[str, int]:
    if address.startswith("["):
        host, bracket, tail = address[1:].partition("]")
        port = tail.removeprefix(":")
        if not bracket or (tail and not tail.startswith(":")):
            raise ValueError(f"target {target!r}: expected [address]:port")
    elif address.count(":") > 1:
        host, port = address, ""  # a bare IPv6 address
    else:
        host, _, port = address.partition(":")
    if not host:
        raise ValueError(f"target {target!r} has no host")
    if not port:
        return host, _DEFAULT_PORT
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"target {target!r}: {port!r} is not a port")
    return host, int(port)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def connect(target: Target) -> trio.abc.Stream:
    """Open a stream to the target, trying its addresses in order.

    Raises:
        OSError: None of them answers; the message names the last.
    """
    if target.path:
        return await _connect_unix(target.path)
    failure: OSError | None = None
    for host, port in target.addresses:
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


async def _connect_unix(path: str) -> trio.SocketStream:
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        await sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def secure(
    stream: trio.abc.Stream, context: ssl.SSLContext, server_name: str
) -> trio.SSLStream[trio.abc.Stream]:
    """Run TLS over `stream`, with ALPN `h2`. Closes `stream` on failure.

    Raises:
        OSError: The handshake failed, or the server does not speak HTTP/2.
    """
    context.set_alpn_protocols(["h2"])
    secured = trio.SSLStream(stream, context, server_hostname=server_name, https_compatible=True)
    try:
        await secured.do_handshake()
        if secured.selected_alpn_protocol() != "h2":
            raise OSError("the server did not agree to HTTP/2 (ALPN h2)")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        raise OSError(f"TLS handshake failed: {error.__cause__ or error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured
