"""A machine that files its states in a depot of the cluster, and fetches them from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio
from loopback import Journal

from trioraft.node import Command, SnapshotOffer, SnapshotPosition
from trioraft.node.machine import SnapshotSink

Fetch = Callable[[SnapshotOffer, SnapshotSink], Awaitable[SnapshotPosition | None]]


class Depot:
    """States by the index of their last command. `gate` holds fetching up, `fetch` replaces it."""

    def __init__(self) -> None:
        self.states: dict[int, bytes] = {}
        self.gate: trio.Event | None = None
        self.fetch: Fetch | None = None

    def machine(self) -> FetchingJournal:
        return FetchingJournal(self)

    def newest(self, index: int) -> bytes:
        """The state at entry `index`; entries without commands change none. Raises ValueError."""
        return self.states[max(at for at in self.states if at <= index)]


class FetchingJournal(Journal):
    def __init__(self, depot: Depot) -> None:
        super().__init__()
        self._depot = depot
        self._last = -1
        self.offers: list[SnapshotOffer] = []
        self.cancelled = 0

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        replies = await super().apply(commands)
        self._last = commands[-1].index
        return replies

    async def snapshot(self, sink: SnapshotSink) -> None:
        await super().snapshot(sink)
        data = b"".join(len(seen).to_bytes(4, "big") + seen for seen in self.seen)
        self._depot.states[self._last] = data

    async def fetch_snapshot(
        self, offer: SnapshotOffer, sink: SnapshotSink
    ) -> SnapshotPosition | None:
        self.offers.append(offer)
        depot = self._depot
        if depot.fetch is not None:
            return await depot.fetch(offer, sink)
        if depot.gate is not None:
            try:
                await depot.gate.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
        await sink.write(depot.newest(offer.index))
        return SnapshotPosition(offer.index, offer.term or 1)
