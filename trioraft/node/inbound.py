"""What comes into a group from its peers, through whichever dialect they speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from trioraft.raft.errors import OverloadedError
from trioraft.raft.types import (
    AppendReply,
    AppendRequest,
    NodeId,
    SnapshotMeta,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.storage.interface import GroupStorage

from .applier import Applier
from .driver import Driver
from .wakeups import Slot

__all__ = ["GroupInbound"]


class GroupInbound:
    """Implements `peers.PeerHandler` for one group."""

    def __init__(
        self, node_id: NodeId, driver: Driver, applier: Applier, storage: GroupStorage
    ) -> None:
        self._node_id = node_id
        self._driver = driver
        self._applier = applier
        self._storage = storage
        self._receiving: trio.CancelScope | None = None

    @property
    def node_id(self) -> NodeId:
        return self._node_id

    async def handle_vote(self, request: VoteRequest) -> VoteReply:
        slot: Slot[VoteReply] = Slot()
        self._driver.step(request, slot.resolve, slot.fail)
        return await slot.wait()

    def handle_append(self, request: AppendRequest, reply: Callable[[AppendReply], Any]) -> None:
        _check_entries(request)
        self._driver.receive(request, reply)

    def settle(self) -> None:
        self._driver.settle()

    async def handle_start_election(self, request: StartElection) -> bool:
        slot: Slot[bool] = Slot()
        self._driver.step(request, slot.resolve, slot.fail)
        return await slot.wait()

    async def handle_snapshot(
        self, request: SnapshotRequest, chunks: AsyncIterator[bytes]
    ) -> SnapshotReply:
        """One snapshot is received at a time; a newer sender takes the place of an older one."""
        core, driver = self._driver.core, self._driver
        answer: Slot[SnapshotReply] = Slot()

        def installed(meta: SnapshotMeta) -> None:
            driver.call(lambda now: core.snapshot_installed(meta, answer.resolve, now))

        wanted = driver.ask(lambda now: core.snapshot_received(request, answer.resolve, now))
        if not await wanted.wait():
            return await answer.wait()
        if self._receiving is not None:
            self._receiving.cancel()
        with trio.CancelScope() as scope:
            self._receiving = scope
            try:
                async with self._storage.create_snapshot() as writer:
                    async for chunk in chunks:
                        await writer.write(chunk)
                    await self._applier.install(writer, request.meta, installed)
            finally:
                if self._receiving is scope:
                    self._receiving = None
            return await answer.wait()
        raise OverloadedError("another snapshot has taken the place of this one")


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
