"""Links that are cut, both ways or one way, or slow, and connections that are reset."""

from __future__ import annotations

import random

import trio

from trioraft.testing.cluster import SimCluster
from trioraft.testing.network import LinkSettings
from trioraft.testing.trace import Trace

__all__ = ["LinkFaults"]

_SLOW = LinkSettings(latency_min=0.05, latency_max=0.3, bandwidth=50_000.0, split=0.2)


class LinkFaults:
    """Each method does one harm and undoes it; False if there was nothing to do it to."""

    def __init__(self, cluster: SimCluster, rng: random.Random, trace: Trace) -> None:
        self._cluster = cluster
        self._rng = rng
        self._trace = trace

    async def isolate_leader(self) -> bool:
        leader = self._cluster.leader()
        if leader is None:
            return False
        others = [n for n in self._cluster.names if n != leader]
        await self._partition([leader], others, one_way=self._rng.random() < 0.4)
        return True

    async def cut_link(self) -> bool:
        pair = self._rng.sample(self._cluster.names, 2)
        await self._partition(pair[:1], pair[1:], one_way=self._rng.random() < 0.5)
        return True

    async def _partition(self, left: list[str], right: list[str], *, one_way: bool) -> None:
        network = self._cluster.network
        if one_way and self._rng.random() < 0.5:
            left, right = right, left
        near = [self._cluster.host_of(name) for name in left]
        far = [self._cluster.host_of(name) for name in right]
        network.partition(
            near,
            far,
            one_way=one_way,
            lose=self._rng.random() < 0.5,
            refuse=self._rng.random() < 0.5,
        )
        await trio.sleep(self._rng.uniform(0.2, 1.5))
        network.heal(near, far)

    async def reset_connections(self) -> bool:
        source, target = self._rng.sample(self._cluster.names, 2)
        cut = self._cluster.network.reset(
            self._cluster.host_of(source),
            self._cluster.host_of(target),
            after_bytes=self._rng.randrange(0, 2000),
        )
        return cut > 0

    async def slow_link(self) -> bool:
        source, target = (
            self._cluster.host_of(name) for name in self._rng.sample(self._cluster.names, 2)
        )
        network = self._cluster.network
        self._trace.record(f"slow {source} {target}")
        network.set_link(source, target, _SLOW, one_way=self._rng.random() < 0.5)
        await trio.sleep(self._rng.uniform(0.3, 2.0))
        network.reset_links(source, target)
        return True
