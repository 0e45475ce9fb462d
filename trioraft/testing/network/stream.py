"""One end of a simulated connection: a half-closeable stream.

It raises what Trio's socket streams raise, and looks like TCP to whoever holds it: closing
with unread bytes resets, bytes that reach a closed end are answered with a reset, and what
had arrived before a reset can still be read.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
from trio.lowlevel import ParkingLot, checkpoint

from .pipe import Pipe

__all__ = ["SimStream"]

DEFAULT_RECEIVE_SIZE = 65536


class SimStream(trio.abc.HalfCloseableStream):
    """One end of a simulated connection. Made by `SimNetwork.dial` and `SimListener.accept`.

    `local_address` and `peer_address` are "host:port" strings.
    """

    def __init__(
        self,
        local_address: str,
        peer_address: str,
        incoming: Pipe,
        outgoing: Pipe,
        on_done: Callable[[], None],
    ) -> None:
        self.local_address = local_address
        self.peer_address = peer_address
        self._incoming = incoming
        self._outgoing = outgoing
        self._on_done = on_done
        self._arrived = bytearray()
        self._ended = False
        self._eof_sent = False
        self._closed = False
        self._broken: str | None = None
        self._readers = ParkingLot()
        self._writers = ParkingLot()
        self._sending = _Exclusive("another task is sending on this stream")
        self._receiving = _Exclusive("another task is receiving on this stream")

    def __repr__(self) -> str:
        return f"<SimStream {self.local_address} to {self.peer_address}>"

    @property
    def done(self) -> bool:
        """True once this end is closed or reset."""
        return self._closed or self._broken is not None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Put `data` under way, waiting while the connection's buffer is full.

        Raises BrokenResourceError after a reset, ClosedResourceError after `aclose` or
        `send_eof`, BusyResourceError. When cancelled, some of `data` may have been sent.
        """
        with self._sending.held():
            await checkpoint()
            self._check_sendable()
            rest = memoryview(data)
            while rest:
                await self._wait_room()
                count = min(len(rest), self._outgoing.room())
                self._outgoing.send(bytes(rest[:count]))
                rest = rest[count:]

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the connection's buffer. Raises as `send_all` does."""
        with self._sending.held():
            await checkpoint()
            await self._wait_room()

    async def send_eof(self) -> None:
        """Say that no more bytes follow; the other direction stays open. Repeating is harmless."""
        with self._sending.held():
            await checkpoint()
            if self._eof_sent and not self._closed:
                return
            self._check_sendable()
            self._eof_sent = True
            self._outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and take up to `max_bytes` (65536) of them; b"" at the end.

        Raises BrokenResourceError after a reset, once what had arrived is read,
        ClosedResourceError after `aclose`, BusyResourceError. Cancelling loses nothing.
        """
        limit = DEFAULT_RECEIVE_SIZE if max_bytes is None else operator.index(max_bytes)
        if limit < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        with self._receiving.held():
            await checkpoint()
            while not self._arrived:
                if self._closed:
                    raise trio.ClosedResourceError("this stream was closed here")
                if self._broken is not None:
                    raise trio.BrokenResourceError(self._broken)
                if self._ended:
                    return b""
                await self._readers.park()
            data = bytes(self._arrived[:limit])
            del self._arrived[:limit]
            self._incoming.consumed(len(data))
            return data

    async def aclose(self) -> None:
        """Close both directions; what was sent still arrives. Closes even when cancelled."""
        self.close()
        await checkpoint()

    def close(self) -> None:
        """`aclose` without the checkpoint."""
        if self._closed:
            return
        self._closed = True
        if self._broken is None:
            if self._arrived:
                self._outgoing.abort()
            elif not self._eof_sent:
                self._outgoing.end()
        self._settle()

    def sever(self, reason: str) -> None:
        """Break this end at once, and reset the other when what is under way has arrived."""
        if not self.done:
            self._outgoing.abort()
        self.on_reset(reason)

    def on_data(self, data: bytes) -> None:
        """Bytes have arrived."""
        if self._closed:
            self._outgoing.abort()
        elif self._broken is None:
            self._arrived += data
            self._readers.unpark_all()

    def on_end(self) -> None:
        """The other side will send no more."""
        self._ended = True
        self._readers.unpark_all()

    def on_reset(self, reason: str) -> None:
        """The connection is gone: nothing can be sent, and only what had arrived be read."""
        if self._broken is None:
            self._broken = reason
            self._settle()

    def on_room(self) -> None:
        """There may be room to send again."""
        self._writers.unpark_all()

    def _settle(self) -> None:
        self._readers.unpark_all()
        self._writers.unpark_all()
        if self._closed:
            self._arrived.clear()
        self._on_done()

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        if self._eof_sent:
            raise trio.ClosedResourceError("this stream has sent its end")
        if self._broken is not None:
            raise trio.BrokenResourceError(self._broken)

    async def _wait_room(self) -> None:
        self._check_sendable()
        while self._outgoing.room() == 0:
            await self._writers.park()
            self._check_sendable()


class _Exclusive:
    """Lets one task in; the next gets BusyResourceError instead of a race."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._taken = False

    @contextmanager
    def held(self) -> Iterator[None]:
        if self._taken:
            raise trio.BusyResourceError(self._complaint)
        self._taken = True
        try:
            yield
        finally:
            self._taken = False
