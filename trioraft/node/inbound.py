"""What comes into a group from its peers, through whichever dialect they speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import NodeId
from trioraft.storage.interface import GroupStorage

from .applier import Read
from .driver import Driver
from .machine import StateMachine
from .peers import NoticeReply, Resume, SnapshotChunk, SnapshotNotice
from .settings import RuntimeSettings
from .snapshots import Snapshots
from .snapshots.fetch import SnapshotFetch
from .snapshots.notices import SnapshotNotices
from .snapshots.receiver import SnapshotReceiver
from .wakeups import Slot

__all__ = ["GroupInbound"]


class GroupInbound:
    """Implements `peers.PeerHandler` for one group."""

    def __init__(
        self,
        driver: Driver,
        snapshots: Snapshots,
        machine: StateMachine,
        storage: GroupStorage,
        settings: RuntimeSettings,
    ) -> None:
        """Raises ConfigurationError if the machine can't do what `settings` want of it."""
        self._driver = driver
        fetch = SnapshotFetch(machine, settings)
        self._receiver = SnapshotReceiver(driver, snapshots, fetch, storage, settings)
        self._notices = SnapshotNotices(driver, snapshots, fetch, storage, settings)

    async def run(self) -> None:
        """What snapshots that arrive need beside the calls of peers, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receiver.run)
            nursery.start_soon(self._notices.run)

    def leader_changed(self) -> None:
        """The term may be another one now. Never waits."""
        self._receiver.leader_changed()
        self._notices.leader_changed()

    @property
    def node_id(self) -> NodeId:
        return self._driver.core.node_id

    async def handle_vote(self, request: VoteRequest) -> VoteReply:
        slot: Slot[VoteReply] = Slot()
        self._driver.step(request, slot.resolve, slot.fail)
        return await slot.wait()

    def take_vote(
        self,
        request: VoteRequest,
        reply: Callable[[VoteReply], Any],
        refuse: Callable[[BaseException], Any],
    ) -> None:
        self._driver.receive(request, reply, refuse)

    def handle_append(
        self, request: AppendRequest, reply: Callable[[AppendReply], Callable[[], Any] | None]
    ) -> None:
        _check_entries(request)
        self._driver.receive(request, reply)

    def settle(self) -> None:
        self._driver.settle()

    async def handle_read_index(self) -> int:
        slot: Slot[int] = Slot()
        self._driver.read(Read(None, slot))
        return await slot.wait()

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
        return await self._receiver.receive(request, chunks, resume)

    async def handle_notice(self, notice: SnapshotNotice) -> NoticeReply:
        return await self._notices.handle(notice)


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
