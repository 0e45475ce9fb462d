"""Binding what a server listens on, and giving it back."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from typing import Any

import trio

from trioraft.rpc.tls.handshake import SecureListener

from .endpoints import Bound, Endpoint, Systemd, Tcp, Unix, UnixAbstract
from .systemd import systemd_sockets

__all__ = ["Opened", "address_text", "bound_address", "close_all", "open_endpoints"]

_BACKLOG = 1024


class Opened:
    """Open listeners in the order of their endpoints, and the socket files that go with them."""

    def __init__(self) -> None:
        self.listeners: list[trio.abc.Listener[Any]] = []
        self._files: list[tuple[str, int]] = []

    def remove_socket_files(self) -> None:
        """Remove each socket file that is still the one that was bound."""
        files, self._files = self._files, []
        for path, inode in files:
            try:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
            except FileNotFoundError:
                continue

    async def close(self) -> None:
        """Close everything. Waits for nothing, and cancelling it leaves nothing open."""
        await close_all(self.listeners)
        self.remove_socket_files()

    async def open(self, endpoint: Endpoint) -> None:
        """Bind one more."""
        opened: Sequence[trio.abc.Listener[Any]]
        match endpoint:
            case Tcp():
                opened = await _open_tcp(endpoint.host, endpoint.port)
            case Unix():
                opened = [await _open_unix(endpoint.path, endpoint.mode)]
                self._files.append((endpoint.path, os.stat(endpoint.path).st_ino))
            case UnixAbstract():
                opened = [await _listen_unix("\0" + endpoint.name, None)]
            case Bound():
                opened = [_adopt(endpoint.sock)]
            case Systemd():
                opened = _take_from_systemd(endpoint.name)
        if endpoint.tls is not None:
            opened = [SecureListener(listener, endpoint.tls) for listener in opened]
        self.listeners.extend(opened)


async def close_all(listeners: Sequence[trio.abc.Listener[Any]]) -> None:
    """Close them, though cancelled: otherwise the first one's checkpoint would spare the others."""
    with trio.CancelScope(shield=True):
        for listener in listeners:
            await trio.aclose_forcefully(listener)


async def open_endpoints(endpoints: Sequence[Endpoint]) -> Opened:
    """Bind all of them, or none. Sockets that were handed in are closed then, too.

    Raises:
        OSError: An address cannot be bound, or systemd has handed nothing over; the message says
            which.
        ValueError: A socket that was handed in is not a stream socket.
    """
    opened = Opened()
    try:
        for endpoint in endpoints:
            await opened.open(endpoint)
    except BaseException:
        await opened.close()
        for endpoint in endpoints:
            if isinstance(endpoint, Bound):
                endpoint.sock.close()
        raise
    return opened


async def _open_tcp(host: str, port: int) -> Sequence[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host or None, backlog=_BACKLOG)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host or '*'}:{port}: {error}") from error


async def _open_unix(path: str, mode: int | None) -> trio.SocketListener:
    """Listen on a Unix socket, replacing a file that no one listens on any more."""
    try:
        if await _is_stale(path):
            os.unlink(path)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on unix:{path}: {error}") from error
    return await _listen_unix(path, mode)


async def _listen_unix(path: str, mode: int | None) -> trio.SocketListener:
    sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    abstract, bound = path.startswith("\0"), False
    try:
        await sock.bind(path)
        bound = True
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(_BACKLOG)
    except BaseException as error:
        sock.close()
        if bound and not abstract:
            os.unlink(path)
        if not isinstance(error, OSError):
            raise
        name = f"unix-abstract:{path[1:]}" if abstract else f"unix:{path}"
        raise OSError(error.errno, f"cannot listen on {name}: {error}") from error
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


def _adopt(sock: socket.socket) -> trio.SocketListener:
    """A socket that somebody has bound; it need not listen yet."""
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"{sock} is not a stream socket")
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.listen(_BACKLOG)
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _take_from_systemd(name: str | None) -> list[trio.SocketListener]:
    sockets = systemd_sockets(name)
    if not sockets:
        named = f" named {name}" if name else ""
        raise OSError(f"systemd has handed no sockets{named} to this process (LISTEN_FDS)")
    return [_adopt(sock) for sock in sockets]


def bound_address(listener: trio.abc.Listener[Any]) -> Any:
    """`(host, port)`, a path, bytes for an abstract Unix socket (a zero byte in front), or for a
    listener that is not a socket, the listener itself."""
    if isinstance(listener, trio.SSLListener):
        listener = listener.transport_listener
    elif isinstance(listener, SecureListener):
        listener = listener.inner
    if not isinstance(listener, trio.SocketListener):
        return listener
    address = listener.socket.getsockname()
    return address[:2] if isinstance(address, tuple) else address


def address_text(address: Any) -> str:
    """A bound address for people."""
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, bytes):
        return "unix-abstract:" + address[1:].decode("utf-8", "backslashreplace")
    return str(address)
