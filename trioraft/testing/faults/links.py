"""Links that are cut, both ways or one way, or slow, and connections that are reset."""

from __future__ import annotations

import random
from collections.abc import Sequence

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
        if not others:
            return False
        company = self._some(others) if self._large else []
        others = [n for n in others if n not in company]
        await self._partition([leader, *company], others, one_way=self._rng.random() < 0.4)
        return True

    async def cut_link(self) -> bool:
        names = self._cluster.names
        if len(names) < 2:
            return False
        if self._large and self._rng.random() < 0.5:
            left = self._some(names) or names[:1]
            right = [n for n in names if n not in left]
        else:
            left, right = ([n] for n in self._rng.sample(names, 2))
        await self._partition(left, right, one_way=self._rng.random() < 0.5)
        return True

    @property
    def _large(self) -> bool:
        """Both sides of a partition can have company."""
        return self._cluster.size > 3

    def _some(self, names: Sequence[str]) -> list[str]:
        """Up to half of them."""
        return self._rng.sample(names, self._rng.randrange(len(names) // 2 + 1))

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
        if len(self._cluster.names) < 2:
            return False
        source, target = self._rng.sample(self._cluster.names, 2)
        cut = self._cluster.network.reset(
            self._cluster.host_of(source),
            self._cluster.host_of(target),
            after_bytes=self._rng.randrange(0, 2000),
        )
        return cut > 0

    async def slow_link(self) -> bool:
        if len(self._cluster.names) < 2:
            return False
        source, target = (
            self._cluster.host_of(name) for name in self._rng.sample(self._cluster.names, 2)
        )
        network = self._cluster.network
        self._trace.record(f"slow {source} {target}")
        network.set_link(source, target, _SLOW, one_way=self._rng.random() < 0.5)
        await trio.sleep(self._rng.uniform(0.3, 2.0))
        network.reset_links(source, target)
        return True
