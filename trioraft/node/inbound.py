"""What comes into a group from its peers, through whichever dialect they speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from trioraft.raft.types import (
    AppendReply,
    AppendRequest,
    NodeId,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)

from .driver import Driver
from .peers import Resume, SnapshotChunk
from .snapshot_receiver import SnapshotReceiver
from .wakeups import Slot

__all__ = ["GroupInbound"]


class GroupInbound:
    """Implements `peers.PeerHandler` for one group."""

    def __init__(self, node_id: NodeId, driver: Driver, snapshots: SnapshotReceiver) -> None:
        self._node_id = node_id
        self._driver = driver
        self._snapshots = snapshots

    @property
    def node_id(self) -> NodeId:
        return self._node_id

    async def handle_vote(self, request: VoteRequest) -> VoteReply:
        slot: Slot[VoteReply] = Slot()
        self._driver.step(request, slot.resolve, slot.fail)
        return await slot.wait()

    def handle_append(
        self, request: AppendRequest, reply: Callable[[AppendReply], Callable[[], Any] | None]
    ) -> None:
        _check_entries(request)
        self._driver.receive(request, reply)

    def settle(self) -> None:
        self._driver.settle()

    async def handle_start_election(self, request: StartElection) -> bool:
        slot: Slot[bool] = Slot()
        self._driver.step(request, slot.resolve, slot.fail)
        return await slot.wait()

    async def handle_snapshot(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume | None = None,
    ) -> SnapshotReply:
        return await self._snapshots.receive(request, chunks, resume)


def _check_entries(request: AppendRequest) -> None:
    """Raises ValueError for entries with a gap, or terms that go back: no leader sends those."""
    index, term = request.prev_index, request.prev_term
    for entry in request.entries:
        if entry.index != index + 1:
            raise ValueError(f"entry {entry.index} follows entry {index}")
        if not term <= entry.term <= request.term:
            raise ValueError(
                f"entry {entry.index} has term {entry.term}, not in {term}..{request.term}"
            )
        index, term = entry.index, entry.term
