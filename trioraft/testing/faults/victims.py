"""Whom harm may be done to: one thing at a time to one node."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from trioraft.testing.cluster import SimCluster

__all__ = ["Victims"]


class Victims:
    """The nodes of a cluster, and which of them something is being done to."""

    def __init__(self, cluster: SimCluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._busy: set[str] = set()  # nodes that something is being done to

    @contextmanager
    def hands_on(self, names: Sequence[str]) -> Iterator[None]:
        """Nobody else does anything to these nodes meanwhile."""
        self._busy.update(names)
        yield
        self._busy.difference_update(names)  # a cancelled fault is left as it is, for `repair`

    def release(self) -> None:
        """Nothing is being done to anybody any more."""
        self._busy.clear()

    def free(self) -> list[str]:
        """Nodes that run and that nothing is being done to."""
        nodes = self._cluster.nodes
        return [name for name in self._cluster.names if name in nodes and name not in self._busy]

    def any(self) -> str | None:
        """One of these, drawn."""
        free = self.free()
        return self._rng.choice(free) if free else None

    def leader(self) -> str | None:
        """The leader, unless something is being done to it."""
        leader = self._cluster.leader()
        return None if leader in self._busy else leader
