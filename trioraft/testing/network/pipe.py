"""One direction of one connection, as both kernels and the network between them carry it."""

from __future__ import annotations

import enum
import zlib
from collections import deque
from typing import Protocol

import trio

from .wire import Wire

__all__ = ["Endpoint", "Pipe"]


class Endpoint(Protocol):
    """One end of a connection, as its two pipes see it. All of these must not block."""

    def on_data(self, data: bytes) -> None:
        """Bytes have arrived."""

    def on_end(self) -> None:
        """The other side will send no more."""

    def on_reset(self, reason: str) -> None:
        """The connection is gone."""

    def on_room(self) -> None:
        """There may be room to send again."""


class _Kind(enum.Enum):
    DATA = "data"
    END = "end"
    RESET = "reset"


class Pipe:
    """One direction of one connection: bytes in order, then an end or a reset."""

    def __init__(self, wire: Wire, name: str, source: str, target: str) -> None:
        self.source = source
        self.target = target
        self.sender: Endpoint
        self.receiver: Endpoint
        self.lossy = False
        self._wire = wire
        self._name = name
        self._flight: deque[tuple[float, _Kind, bytes]] = deque()
        self._scheduled = False
        self._stalled = False
        self._aborted = False
        self._busy_until = 0.0
        self._sent = 0
        self._consumed = 0
        self._acknowledged = 0
        self._cut_at: int | None = None

    def room(self) -> int:
        """Bytes that may be sent now."""
        limit = self._wire.link(self.source, self.target).buffer_size
        return max(0, limit - (self._sent - self._acknowledged))

    def cut_after(self, count: int) -> None:
        """Reset the connection when `count` more bytes have gone into this pipe."""
        self._cut_at = self._sent + count
        if count == 0:
            self._sever()

    def send(self, data: bytes) -> None:
        """Put bytes under way; the caller has looked at `room`."""
        if self._cut_at is not None:
            data = data[: self._cut_at - self._sent]
        while data:
            count = self._wire.cut(self.source, self.target, len(data))
            self._sent += count
            self._launch(_Kind.DATA, data[:count])
            data = data[count:]
        if self._sent == self._cut_at:
            self._sever()

    def end(self) -> None:
        """Say that no more bytes follow."""
        self._launch(_Kind.END, b"")

    def abort(self) -> None:
        """Reset the receiving end, behind the bytes that are already under way."""
        if not self._aborted:
            self._aborted = True
            self._launch(_Kind.RESET, b"")

    def consumed(self, count: int) -> None:
        """The receiver has read `count` bytes: room for the sender, once it hears of it."""
        self._consumed += count
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the sender what was read, unless the way back to it is blocked."""
        if (
            self._acknowledged < self._consumed
            and (self.target, self.source) not in self._wire.blocks
        ):
            self._acknowledged = self._consumed
            self.sender.on_room()

    def resume(self) -> None:
        """The link has healed: send again what waited."""
        if self._stalled:
            self._stalled = False
            waiting, self._flight = self._flight, deque()
            for _, kind, data in waiting:
                self._launch(kind, data)

    def arrive(self, now: float) -> None:
        """Hand over everything that is due."""
        self._scheduled = False
        while self._flight and self._flight[0][0] <= now:
            block = self._wire.blocks.get((self.source, self.target))
            if block is not None and not block.lose:
                self._stalled = True
                return
            _, kind, data = self._flight.popleft()
            if block is not None:
                self.lossy = True
                self._wire.record(f"{self._name} lost {kind.value} {len(data)}")
                continue
            self._wire.record(f"{self._name} {kind.value} {len(data)} {zlib.crc32(data):08x}")
            self._hand_over(kind, data)
        self._schedule()

    def _hand_over(self, kind: _Kind, data: bytes) -> None:
        if kind is _Kind.DATA:
            self.receiver.on_data(data)
        elif kind is _Kind.END:
            self.receiver.on_end()
        else:
            self.receiver.on_reset("connection reset by peer")

    def _launch(self, kind: _Kind, data: bytes) -> None:
        start = max(trio.current_time(), self._busy_until)
        bandwidth = self._wire.link(self.source, self.target).bandwidth
        if bandwidth is not None:
            start += len(data) / bandwidth
            self._busy_until = start
        due = start + self._wire.latency(self.source, self.target)
        # Only the head is ever looked at, so what is due before it waits for it.
        self._flight.append((due, kind, data))
        self._schedule()

    def _schedule(self) -> None:
        if self._flight and not self._scheduled and not self._stalled:
            self._scheduled = True
            self._wire.schedule(self._flight[0][0], self.arrive)

    def _sever(self) -> None:
        self._wire.record(f"{self._name} severed after {self._sent} bytes")
        self._cut_at = None
        self.abort()
        self.sender.on_reset("connection severed by the simulation")
