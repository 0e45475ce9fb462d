"""The links between all hosts, and when what is under way on them arrives.

One task, `Wire.deliver`, moves everything that is under way: it sleeps until the next
arrival, so an idle connection costs nothing and a thousand of them cost no task.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable

import trio

from trioraft.testing.trace import Trace

from .links import Block, LinkSettings

__all__ = ["Wire"]


class Wire:
    """The links between all hosts, what blocks them, and the agenda of arrivals."""

    def __init__(self, rng: random.Random, settings: LinkSettings, trace: Trace | None) -> None:
        self._rng = rng
        self._default = settings
        self._links: dict[tuple[str, str], LinkSettings] = {}
        self.blocks: dict[tuple[str, str], Block] = {}
        self._trace = trace
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
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

    def schedule(self, due: float, arrive: Callable[[float], None]) -> None:
        """Have `arrive` called at the virtual time `due`, with the time that it is then."""
        heapq.heappush(self._agenda, (due, next(self._order), arrive))
        if due < self._sleeps_until:
            self._wakeup.set()

    async def deliver(self) -> None:
        """Carry out arrivals when they are due, until cancelled."""
        while True:
            now = trio.current_time()
            while self._agenda and self._agenda[0][0] <= now:
                heapq.heappop(self._agenda)[2](now)
            self._sleeps_until = self._agenda[0][0] if self._agenda else math.inf
            self._wakeup = trio.Event()
            with trio.CancelScope(deadline=self._sleeps_until):
                await self._wakeup.wait()
