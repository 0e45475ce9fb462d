"""How a connection gets its bytes in and out: a socket in the fewest steps, the rest as they come.

Trio's stream methods give way to other tasks on every call, which a connection that is woken
for each batch does anyway. For a plain socket the same system calls are made directly: wait
until it is readable, read once into a buffer that is kept; write at once, and wait only for
what the kernel does not take.
"""

from __future__ import annotations

import os
from typing import Protocol

import trio

__all__ = ["Pipe", "open_pipe"]

_READ_SIZE = 64 * 1024


class Pipe(Protocol):
    """The two ends of a byte stream as its connection's two tasks use them."""

    async def receive(self) -> bytes | bytearray | memoryview:
        """Wait for bytes; empty at the end. Valid until the next call. Cancelling takes nothing.

        Raises trio.BrokenResourceError, trio.ClosedResourceError.
        """

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

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def receive(self) -> bytes | bytearray:
        return await self._stream.receive_some(_READ_SIZE)

    def send_now(self, data: bytes) -> int:
        return 0

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._stream.send_all(data)


class _SocketPipe:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._fileno = stream.socket.fileno  # -1 once it is closed, never another file's number
        self._buffer = memoryview(bytearray(_READ_SIZE))
        self._buffers = [self._buffer]

    async def receive(self) -> memoryview:
        while True:
            # Raises ClosedResourceError for a socket that is closed, also while it waits.
            await trio.lowlevel.wait_readable(self._fd())
            try:
                return self._buffer[: os.readv(self._fd(), self._buffers)]
            except BlockingIOError:
                continue  # readiness is a hint
            except OSError as error:
                raise trio.BrokenResourceError(f"reading failed: {error}") from error

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
