"""What carries the bytes of a simulated network: links with delays, and one-way pipes.

One task, `Wire.deliver`, moves everything that is under way: it sleeps until the next
arrival, so an idle connection costs nothing and a thousand of them cost no task.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import math
import random
import zlib
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import trio

from .trace import Trace

__all__ = ["Block", "Endpoint", "LinkSettings", "Pipe", "Wire"]


@dataclass(frozen=True)
class LinkSettings:
    """How one direction between two hosts behaves.

    latency_min, latency_max: seconds; each segment's delay is drawn evenly between them, and
        bytes of one connection never overtake each other.
    bandwidth: bytes per second of one connection; None is unlimited.
    buffer_size: bytes of one connection that may be sent and not yet read; `send_all` waits
        above it.
    split: probability that a segment is cut in two at a random byte, which arrive separately.
    """

    latency_min: float = 0.0002
    latency_max: float = 0.002
    bandwidth: float | None = None
    buffer_size: int = 256 * 1024
    split: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.latency_min <= self.latency_max < math.inf:
            raise ValueError(f"latencies must be 0 <= min <= max, got {self}")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError(f"bandwidth must be positive, got {self.bandwidth}")
        if self.buffer_size < 1:
            raise ValueError(f"buffer_size must be at least 1, got {self.buffer_size}")
        if not 0.0 <= self.split <= 1.0:
            raise ValueError(f"split is a probability, got {self.split}")


@dataclass(frozen=True)
class Block:
    """Why nothing passes on one direction of a link, and what that does to what tries.

    lose: bytes that would arrive are lost for good, so that their connection is reset once
        the link heals; otherwise they wait, as TCP retransmits.
    refuse: connection attempts are refused at once; otherwise they wait.
    """

    lose: bool
    refuse: bool


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


class Wire:
    """The links between all hosts, what blocks them, and the agenda of arrivals."""

    def __init__(self, rng: random.Random, settings: LinkSettings, trace: Trace | None) -> None:
        self._rng = rng
        self._default = settings
        self._links: dict[tuple[str, str], LinkSettings] = {}
        self.blocks: dict[tuple[str, str], Block] = {}
        self._trace = trace
        self._agenda: list[tuple[float, int, Pipe]] = []
        self._order = itertools.count()
        self._sleeps_until = -math.inf
        self._wakeup = trio.Event()

    def set_link(self, source: str, target: str, settings: LinkSettings) -> None:
        """Change one direction, for what is sent from now on."""
        self._links[source, target] = settings

    def reset_links(self, *pairs: tuple[str, str]) -> None:
        """Go back to the default on these directions, or on all."""
        for pair in pairs or tuple(self._links):
            self._links.pop(pair, None)

    def link(self, source: str, target: str) -> LinkSettings:
        """The settings of one direction."""
        return self._links.get((source, target), self._default)

    def latency(self, source: str, target: str) -> float:
        """Draw the delay of the next segment on one direction, in seconds."""
        link = self.link(source, target)
        return self._rng.uniform(link.latency_min, link.latency_max)

    def cut(self, source: str, target: str, size: int) -> int:
        """How many of the next `size` bytes travel together: all, or a random part."""
        split = self.link(source, target).split
        if size > 1 and split > 0.0 and self._rng.random() < split:
            return self._rng.randrange(1, size)
        return size

    def record(self, event: str) -> None:
        """Put an event into the trace, if there is one."""
        if self._trace is not None:
            self._trace.record(f"net {event}")

    def schedule(self, due: float, pipe: Pipe) -> None:
        """Have `pipe.arrive` called at the virtual time `due`."""
        heapq.heappush(self._agenda, (due, next(self._order), pipe))
        if due < self._sleeps_until:
            self._wakeup.set()

    async def deliver(self) -> None:
        """Carry out arrivals when they are due, until cancelled."""
        while True:
            now = trio.current_time()
            while self._agenda and self._agenda[0][0] <= now:
                heapq.heappop(self._agenda)[2].arrive(now)
            self._sleeps_until = self._agenda[0][0] if self._agenda else math.inf
            self._wakeup = trio.Event()
            with trio.CancelScope(deadline=self._sleeps_until):
                await self._wakeup.wait()


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
            self._wire.schedule(self._flight[0][0], self)

    def _sever(self) -> None:
        self._wire.record(f"{self._name} severed after {self._sent} bytes")
        self._cut_at = None
        self.abort()
        self.sender.on_reset("connection severed by the simulation")
