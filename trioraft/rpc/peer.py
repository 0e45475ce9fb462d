"""Who is on the other end of a connection."""

from __future__ import annotations

import logging
import socket
import struct
from typing import Any, NamedTuple

import trio

from .tls.identity import Certificate, read_certificate

log = logging.getLogger(__name__)

_PROBE_EVERY = 60


class UnixCredentials(NamedTuple):
    """Who has connected to a Unix socket, as the kernel knows (SO_PEERCRED, unix(7)).

    It is the process that connected and the user it had at that time. A process that we cannot see
    (another PID namespace) is 0.
    """

    pid: int
    uid: int
    gid: int


class Peer:
    """The other end of a connection, with grpclib's two questions (`addr`, `cert`) and more."""

    __slots__ = ("_stream",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    def addr(self) -> Any:
        """The remote address as the socket module gives it, or None for other streams.

        `(host, port)` for IPv4, four items for IPv6, a path for a Unix socket (empty when the
        peer is not bound to one). A stream that is not a socket may offer a `peer_address`
        attribute instead.
        """
        return self._address("getpeername", "peer_address")

    def local_addr(self) -> Any:
        """Our own address of the connection, as `addr` gives the remote one; a stream that is no
        socket may offer `local_address`."""
        return self._address("getsockname", "local_address")

    def _address(self, ask: str, attribute: str) -> Any:
        stream = self._stream
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if isinstance(stream, trio.SocketStream):
            try:
                return getattr(stream.socket, ask)()
            except OSError:
                return None
        return getattr(stream, attribute, None)

    def cert(self) -> dict[str, Any] | None:
        """The peer's certificate as `ssl.SSLSocket.getpeercert` gives it; None without TLS."""
        if isinstance(self._stream, trio.SSLStream):
            certificate: dict[str, Any] | None = self._stream.getpeercert()
            return certificate
        return None

    @property
    def certificate(self) -> Certificate | None:
        """The peer's certificate, if it has shown one and that was checked; else None.

        A server asks its clients for one only with `server_tls(client_ca=)`.
        """
        if not isinstance(self._stream, trio.SSLStream):
            return None
        try:
            details = self._stream.getpeercert()
        except trio.NeedHandshakeError:
            return None
        if not details:  # an empty one: shown, but nobody has checked it
            return None
        return read_certificate(details, self._stream.getpeercert(binary_form=True))

    @property
    def credentials(self) -> UnixCredentials | None:
        """Process, user and group behind a Unix socket; None for other connections."""
        stream = self._stream
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if not isinstance(stream, trio.SocketStream) or not hasattr(socket, "SO_PEERCRED"):
            return None
        if stream.socket.family != socket.AF_UNIX:
            return None
        packed = struct.Struct("3i")
        try:
            found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, packed.size)
        except OSError:
            return None  # it is closed
        return UnixCredentials(*packed.unpack(found))

    def tls(self) -> tuple[str, bytes | None] | None:
        """The cipher, by OpenSSL's name, and the peer's certificate (DER) if it has shown one.

        None without TLS, and before the handshake is done.
        """
        if not isinstance(self._stream, trio.SSLStream):
            return None
        try:
            cipher = self._stream.cipher()
            certificate: bytes | None = self._stream.getpeercert(binary_form=True)
        except trio.NeedHandshakeError:
            return None
        return (cipher[0], certificate) if cipher else None

    def __str__(self) -> str:
        address = self.addr()
        if isinstance(address, tuple):
            host = f"[{address[0]}]" if ":" in address[0] else address[0]
            return f"{host}:{address[1]}"
        if address is None:
            return type(self._stream).__name__
        return str(address) or "unix peer"


def notice_silence(stream: trio.abc.Stream, seconds: float) -> None:
    """Have the kernel break a TCP connection whose peer has vanished without a word.

    Sent data that stays unacknowledged for `seconds` breaks it (TCP_USER_TIMEOUT, RFC 5482), and an
    idle connection is probed once a minute. Without this, a peer that lost its power would be
    talked to for a quarter of an hour, and for minutes after its return. Other streams, and
    systems without these options, are left as they are.
    """
    if isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream) or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    if stream.socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_EVERY)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:
        log.debug("cannot bound the silence of a peer: %s", error)  # gone already, most likely
