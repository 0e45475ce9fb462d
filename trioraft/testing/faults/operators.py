"""What operators do to a cluster, at bad moments."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

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

    async def change_members(self) -> bool:
        """Add, remove, promote or demote somebody, asked of any node."""
        name, target = self._victims.any(), self._rng.choice(self._cluster.names)
        if name is None:
            return False
        node = self._cluster.nodes[name]
        configuration = node.configuration
        change: Callable[[], Awaitable[Any]]
        if configuration.member(target) is None:
            learner = self._rng.random() < 0.4
            address = self._cluster.addresses[target]
            what, change = "add", partial(node.add_member, target, address, learner=learner)
        elif configuration.is_voter(target) and len(configuration.voters) <= 2:
            return False
        elif self._rng.random() < 0.5:
            what, change = "remove", partial(node.remove_member, target)
        elif configuration.is_voter(target):
            what, change = "demote", partial(node.demote, target)
        else:
            what, change = "promote", partial(node.promote, target)
        with trio.move_on_after(2.0):
            try:
                await change()
            except TrioraftError as error:
                self._trace.record(f"{what} {target}, asked of {name}: {type(error).__name__}")
            else:
                self._trace.record(f"{what} {target}, asked of {name}")
                return True
        return False
