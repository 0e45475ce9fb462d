"""Leadership is a nursery: it exists exactly while this node leads.

Becoming leader starts one replicator per follower inside it; a change of the configuration
starts and ends single ones; stepping down cancels it, and with it every stream, snapshot
transfer and retry that only a leader may keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Member, NodeId

from .replicator import Replicator

__all__ = ["Leadership"]


class Leadership:
    """One term of leadership of one node. All but `run` are plain calls that never wait."""

    def __init__(self, term: int, new_replicator: Callable[[Member, int], Replicator]) -> None:
        self.term = term
        self._new_replicator = new_replicator
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._running: dict[NodeId, _Replication] = {}

    def follow(self, followers: Iterable[Member]) -> list[NodeId]:
        """Replicate to exactly these; returns those that were reached elsewhere until now.

        What was on its way to them is lost, and the core must be told so.
        """
        wanted = {member.id: member for member in followers}
        for gone in [follower for follower in self._running if follower not in wanted]:
            self._running.pop(gone).scope.cancel()
        moved = []
        for member in wanted.values():
            running = self._running.get(member.id)
            if running is not None:
                if running.address == member.address:
                    continue
                running.scope.cancel()
                moved.append(member.id)
            self._start(member)
        return moved

    def post(self, to: NodeId, request: AppendRequest) -> None:
        """A message to somebody who has just left goes nowhere."""
        if (running := self._running.get(to)) is not None:
            running.replicator.post(request)

    def post_snapshot(self, to: NodeId) -> None:
        if (running := self._running.get(to)) is not None:
            running.replicator.post_snapshot()

    def rest(self) -> None:
        """Close every stream until there is something to send again."""
        for running in self._running.values():
            running.replicator.rest()

    def step_down(self) -> None:
        """Cancel everything that only a leader does."""
        self._scope.cancel()

    async def run(self) -> None:
        """Run the replicators until `step_down`, or until cancelled."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for replication in self._running.values():
                    nursery.start_soon(replication.run)
                # A leader that is alone still waits here: followers may come.
                await trio.sleep_forever()

    def _start(self, member: Member) -> None:
        replicator = self._new_replicator(member, self.term)
        replication = self._running[member.id] = _Replication(member.address, replicator)
        if self._nursery is not None:
            self._nursery.start_soon(replication.run)


class _Replication:
    """A replicator, where it dials to, and the scope that ends it alone."""

    __slots__ = ("address", "replicator", "scope")

    def __init__(self, address: str, replicator: Replicator) -> None:
        self.address = address
        self.replicator = replicator
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.replicator.run()
