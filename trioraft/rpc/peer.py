"""Who is on the other end of a connection."""

from __future__ import annotations

import socket
from typing import Any

import trio


class Peer:
    """The other end of a connection, with grpclib's two questions."""

    __slots__ = ("_stream",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def addr(self) -> Any:
        """The remote address as the socket module gives it, or None for other streams.

        `(host, port)` for IPv4, four items for IPv6, a path for a Unix socket (empty when the
        peer is not bound to one). A stream that is not a socket may offer a `peer_address`
        attribute instead.
        """
        stream = self._stream
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if isinstance(stream, trio.SocketStream):
            try:
                return stream.socket.getpeername()
            except OSError:
                return None
        return getattr(stream, "peer_address", None)

    def cert(self) -> dict[str, Any] | None:
        """The peer's certificate as `ssl.SSLSocket.getpeercert` gives it; None without TLS."""
        if isinstance(self._stream, trio.SSLStream):
            certificate: dict[str, Any] | None = self._stream.getpeercert()
            return certificate
        return None

    def __str__(self) -> str:
        address = self.addr()
        if isinstance(address, tuple):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            return f"{host}:{address[1]}"
        if address is None:
            return type(self._stream).__name__
        return str(address) or "unix peer"


def is_unix(stream: trio.abc.Stream) -> bool:
    """Whether the stream is a Unix socket."""
    return isinstance(stream, trio.SocketStream) and stream.socket.family == socket.AF_UNIX
