"""Who is calling: the kernel's word on the process at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import trio

from .module import Caller

__all__ = ["IdentifyingListener", "caller_of"]

#: struct ucred: pid, uid, gid (unix(7)). Linux only; elsewhere the caller stays unknown.
_UCRED = struct.Struct("3i")
_SO_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None)


def caller_of(getsockopt: Callable[[int, int, int], bytes]) -> Caller:
    """The caller of a connected Unix socket, from its `getsockopt` (SO_PEERCRED)."""
    if _SO_PEERCRED is None:
        return Caller()
    pid, uid, gid = _UCRED.unpack(getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size))
    return Caller(pid=pid, uid=uid, gid=gid)


class _IdentifiedStream(trio.abc.HalfCloseableStream):
    """A socket stream with the `peer_address` that `trioraft.rpc` hands on to its handlers."""

    def __init__(self, stream: trio.SocketStream, caller: Caller) -> None:
        self._stream = stream
        self.peer_address = caller

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class IdentifyingListener(trio.abc.Listener[_IdentifiedStream]):
    """Accepts like the listener it wraps, and notes who each connection is from."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    async def accept(self) -> _IdentifiedStream:
        """The next connection. Cancelling it loses none."""
        stream = await self._listener.accept()
        return _IdentifiedStream(stream, caller_of(stream.getsockopt))

    async def aclose(self) -> None:
        """Stop listening."""
        await self._listener.aclose()
