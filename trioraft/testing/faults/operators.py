"""What operators do to a cluster, at bad moments."""

from __future__ import annotations

import random

import trio

from trioraft.raft.errors import TrioraftError
from trioraft.testing.cluster import SimCluster
from trioraft.testing.trace import Trace

from .victims import Victims

__all__ = ["Operators"]


class Operators:
    """Each method asks one thing of some node; False if there was nobody to ask it of."""

    def __init__(
        self, cluster: SimCluster, victims: Victims, rng: random.Random, trace: Trace
    ) -> None:
        self._cluster = cluster
        self._victims = victims
        self._rng = rng
        self._trace = trace

    async def transfer(self) -> bool:
        leader = self._victims.leader()
        if leader is None:
            return False
        with trio.move_on_after(1.0):
            try:
                heir = await self._cluster.nodes[leader].transfer_leadership()
            except TrioraftError as error:  # leadership moved on its own, or nobody can take it
                self._trace.record(f"transfer from {leader}: {type(error).__name__}")
            else:
                self._trace.record(f"transfer from {leader} to {heir}")
        return True

    async def snapshot(self) -> bool:
        name = self._victims.any()
        if name is None:
            return False
        with trio.move_on_after(1.0):
            try:
                meta = await self._cluster.nodes[name].snapshot()
            except TrioraftError as error:
                self._trace.record(f"snapshot of {name}: {type(error).__name__}")
            else:
                self._trace.record(f"snapshot of {name} at {meta.index}")
        return True

    async def pause_elections(self) -> bool:
        """Some node does not stand for election for a while."""
        name = self._victims.any()
        if name is None:
            return False
        node = self._cluster.nodes[name]
        try:
            await node.pause_elections()
            self._trace.record(f"elections paused on {name}")
            await trio.sleep(self._rng.uniform(0.2, 2.0))
            await node.resume_elections()
            self._trace.record(f"elections resumed on {name}")
        except TrioraftError as error:  # it has stopped meanwhile, and forgets it
            self._trace.record(f"pause of elections on {name}: {type(error).__name__}")
        return True

    async def resume_elections(self) -> None:
        """Every node that runs stands for election again."""
        for name in list(self._cluster.nodes):
            await self._cluster.nodes[name].resume_elections()
