"""Leadership is a nursery: it exists exactly while this node leads.

Becoming leader starts one replicator per follower inside it; stepping down cancels it, and
with it every stream, snapshot transfer and retry that only a leader may keep.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from trioraft.raft.types import AppendRequest, Configuration, Member, NodeId

from .replicator import Replicator

__all__ = ["Leadership"]


class Leadership:
    """One term of leadership of one node."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        term: int,
        configuration: Configuration,
        new_replicator: Callable[[Member, int, random.Random], Replicator],
        rng: random.Random,
    ) -> None:
        self.term = term
        self._scope = trio.CancelScope()
        self._replicators: dict[NodeId, Replicator] = {
            member.id: new_replicator(member, term, random.Random(rng.getrandbits(64)))
            for member in configuration.members()
            if member.id != node_id
        }

    def post(self, to: NodeId, request: AppendRequest) -> None:
        self._replicators[to].post(request)

    def post_snapshot(self, to: NodeId) -> None:
        self._replicators[to].post_snapshot()

    def step_down(self) -> None:
        """Cancel everything that only a leader does. Never blocks."""
        self._scope.cancel()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                for replicator in self._replicators.values():
                    nursery.start_soon(replicator.run)
