"""What goes wrong in a simulated cluster, and when: chosen by the seed."""

from __future__ import annotations

import random
from collections import Counter

import trio

from trioraft.raft.errors import TrioraftError

from .cluster import SimCluster
from .trace import Trace

__all__ = ["FaultInjector"]


class FaultInjector:
    """Crashes, restarts, partitions and resets, one after the other.

    `counts` says how often each kind really happened: a run that never lost a leader proves
    little.
    """

    def __init__(self, cluster: SimCluster, rng: random.Random, trace: Trace) -> None:
        self._cluster = cluster
        self._rng = rng
        self._trace = trace
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Do harm until cancelled."""
        kinds = [
            self._crash_leader,
            self._crash_any,
            self._isolate_leader,
            self._cut_link,
            self._reset_connections,
            self._transfer,
        ]
        while True:
            await trio.sleep(self._rng.uniform(0.1, 0.8))
            await self._rng.choice(kinds)()

    async def repair(self) -> None:
        """Heal the network and start every node that is down."""
        self._cluster.network.heal()
        for name in self._cluster.names:
            if name not in self._cluster.nodes:
                await self._cluster.start(name)

    async def _crash_leader(self) -> None:
        leader = self._cluster.leader()
        if leader is not None:
            self.counts["leader crash"] += 1
            await self._crash(leader)

    async def _crash_any(self) -> None:
        self.counts["crash"] += 1
        names = [self._rng.choice(self._cluster.names)]
        if self._rng.random() < 0.3:
            names = list(self._cluster.names)  # the whole building loses power
            self.counts["power cut"] += 1
        for name in names[1:]:
            if name in self._cluster.nodes:
                self._cluster.kill(name)
        if names[0] in self._cluster.nodes:
            await self._crash(names[0])
        for name in names[1:]:
            await self._cluster.start(name)

    async def _crash(self, name: str) -> None:
        self._cluster.kill(name)
        await trio.sleep(self._rng.uniform(0.0, 1.0))
        await self._cluster.start(name)

    async def _isolate_leader(self) -> None:
        leader = self._cluster.leader()
        if leader is None:
            return
        self.counts["leader isolated"] += 1
        others = [n for n in self._cluster.names if n != leader]
        await self._partition([leader], others, one_way=self._rng.random() < 0.3)

    async def _cut_link(self) -> None:
        self.counts["link cut"] += 1
        pair = self._rng.sample(self._cluster.names, 2)
        await self._partition(pair[:1], pair[1:], one_way=self._rng.random() < 0.5)

    async def _partition(self, left: list[str], right: list[str], *, one_way: bool) -> None:
        network, host_of = self._cluster.network, self._cluster.host_of
        network.partition(
            [host_of(name) for name in left],
            [host_of(name) for name in right],
            one_way=one_way,
            lose=self._rng.random() < 0.5,
            refuse=self._rng.random() < 0.5,
        )
        await trio.sleep(self._rng.uniform(0.2, 1.5))
        network.heal()

    async def _reset_connections(self) -> None:
        source, target = self._rng.sample(self._cluster.names, 2)
        cut = self._cluster.network.reset(
            self._cluster.host_of(source),
            self._cluster.host_of(target),
            after_bytes=self._rng.randrange(0, 2000),
        )
        self.counts["connection reset"] += cut

    async def _transfer(self) -> None:
        leader = self._cluster.leader()
        if leader is None:
            return
        self.counts["transfer"] += 1
        with trio.move_on_after(1.0):
            try:
                heir = await self._cluster.nodes[leader].transfer_leadership()
            except TrioraftError as error:  # leadership moved on its own, or nobody can take it
                self._trace.record(f"transfer from {leader}: {type(error).__name__}")
            else:
                self._trace.record(f"transfer from {leader} to {heir}")
