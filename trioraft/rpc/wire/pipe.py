"""How a connection gets its bytes in and out: a socket in the fewest steps, the rest as they come.

Trio's stream methods give way to other tasks on every call, which a connection that is woken
for each batch does anyway. For a plain socket the same system calls are made directly: wait
until it is readable, read once; write at once, and wait only for what the kernel does not take.
No buffer is kept: an idle connection has none. Pieces are of 64 KiB, because the allocator hands
larger ones back to the system each time, and the kernel zeroes their pages for the next one.
"""

from __future__ import annotations

import os
from typing import Protocol

import trio

__all__ = ["Pipe", "open_pipe"]


class Pipe(Protocol):
    """The two ends of a byte stream as its connection's two tasks use them."""

    #: Bytes to send at once, best.
    write_size: int
    #: Whether `send_now` may send anything.
    immediate: bool

    async def receive(self, size: int) -> bytes | bytearray:
        """Wait for at most `size` bytes; empty at the end. Cancelling takes nothing.

        Raises trio.BrokenResourceError, trio.ClosedResourceError.
        """

    def receive_now(self, size: int) -> bytes:
        """At most `size` bytes that are here already; empty if there are none. Raises nothing."""

    def send_now(self, data: bytes) -> int:
        """Send what goes without waiting; returns how many bytes that was.

        Raises trio.BrokenResourceError.
        """

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send everything. Raises as `receive`. Cancelled, some of it may have been sent."""


def open_pipe(stream: trio.abc.Stream) -> Pipe:
    """The quickest pipe for this stream. The stream stays the owner of the socket."""
    if type(stream) is trio.SocketStream:
        return _SocketPipe(stream)
    return _StreamPipe(stream)


class _StreamPipe:
    """TLS, in-memory and simulated streams."""

    write_size = 256 * 1024
    immediate = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive(self, size: int) -> bytes | bytearray:
        return await self._stream.receive_some(size)

    def receive_now(self, size: int) -> bytes:
        return b""

    def send_now(self, data: bytes) -> int:
        return 0

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._stream.send_all(data)


class _SocketPipe:
    write_size = 64 * 1024
    immediate = True

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._fileno = stream.socket.fileno  # -1 once it is closed, never another file's number

    async def receive(self, size: int) -> bytes:
        while True:
            # Raises ClosedResourceError for a socket that is closed, also while it waits.
            await trio.lowlevel.wait_readable(self._fd())
            try:
                return os.read(self._fd(), size)
            except BlockingIOError:
                continue  # readiness is a hint
            except OSError as error:
                raise trio.BrokenResourceError(f"reading failed: {error}") from error

    def receive_now(self, size: int) -> bytes:
        try:
            return os.read(self._fd(), size)
        except (OSError, trio.ClosedResourceError):
            return b""  # nothing is here, or `receive` says what is wrong

    def send_now(self, data: bytes) -> int:
        try:
            return os.write(self._fd(), data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"writing failed: {error}") from error

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._stream.send_all(data)

    def _fd(self) -> int:
        fd: int = self._fileno()
        if fd < 0:
            raise trio.ClosedResourceError("this socket was closed")
        return fd
