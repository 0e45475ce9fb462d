"""Opening listeners: TCP, TLS over TCP, Unix sockets."""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass, field
from typing import Any

import trio

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 50051

_BACKLOG = 1024


@dataclass
class Opened:
    """Listeners, and the Unix socket file that goes away with them."""

    listeners: list[trio.abc.Listener[Any]] = field(default_factory=list)
    path: str | None = None
    inode: int = 0

    def remove_socket_file(self) -> None:
        """Remove the socket file if it is still the one that was bound."""
        if self.path is None:
            return
        try:
            if os.stat(self.path).st_ino == self.inode:
                os.unlink(self.path)
        except FileNotFoundError:
            return


async def open_listeners(
    host: str | None, port: int | None, uds: str | None, ssl_context: ssl.SSLContext | None
) -> Opened:
    """Bind what is asked for; all or nothing.

    Raises:
        OSError: An address cannot be bound; the message names it.
    """
    opened = Opened()
    if host is not None or port is not None:
        host = DEFAULT_HOST if host is None else host
        port = DEFAULT_PORT if port is None else port
        opened.listeners.extend(await _open_tcp(host, port, ssl_context))
    if uds is not None:
        try:
            listener = await _open_unix(uds)
        except BaseException:
            for other in opened.listeners:
                await trio.aclose_forcefully(other)
            raise
        opened.listeners.append(listener)
        opened.path, opened.inode = uds, os.stat(uds).st_ino
    return opened


async def _open_tcp(
    host: str, port: int, ssl_context: ssl.SSLContext | None
) -> list[trio.abc.Listener[Any]]:
    try:
        plain = await trio.open_tcp_listeners(port, host=host or None, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host or '*'}:{port}: {error}") from error
    if ssl_context is None:
        return list(plain)
    ssl_context.set_alpn_protocols(["h2"])
    return [trio.SSLListener(listener, ssl_context, https_compatible=True) for listener in plain]


async def _open_unix(path: str) -> trio.SocketListener:
    """Listen on a Unix socket, replacing a file that no one listens on any more."""
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    try:
        if await _is_stale(path):
            os.unlink(path)
        await sock.bind(path)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error}") from error
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


async def _is_stale(path: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as probe:
        try:
            await probe.connect(path)
        except ConnectionRefusedError:
            return True
    return False


def bound_address(listener: trio.abc.Listener[Any]) -> Any:
    """`(host, port)`, a path, or for a listener that is not a socket, the listener itself."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    if not isinstance(listener, trio.SocketListener):
        return listener
    address = listener.socket.getsockname()
    return address[:2] if isinstance(address, tuple) else address
