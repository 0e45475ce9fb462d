"""Mistakes around the core: runtime, storage, sessions, reads. Found by whole clusters."""

from __future__ import annotations

from typing import Any

from trioraft.node.applier import Applier, Read
from trioraft.node.driver import Driver
from trioraft.node.group.calls import GroupCalls
from trioraft.node.sessions import SessionTable
from trioraft.node.wakeups import Slot
from trioraft.protocols.local import GrpcForwarder
from trioraft.raft import RaftCore
from trioraft.raft.errors import TrioraftError
from trioraft.raft.ready import Ready
from trioraft.raft.types import NO_INDEX, NO_TERM, ReplicationLevel, Session
from trioraft.storage.interface import PersistBatch
from trioraft.storage.writer import GroupCommit
from trioraft.testing.disk import SimDisk

from .bug import Patches, PlantedBug

__all__ = ["STACK_BUGS"]


def _acknowledge_before_the_disk() -> Patches:
    def persist(self: Any, ready: Ready) -> None:
        self._durable(ready)
        batch = PersistBatch(ready.hard_state, ready.entries, ready.reset)
        self._storage.persist(batch, lambda _error: None)
        if ready.must_persist:
            last = ready.entries[-1] if ready.entries else None
            index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
            self.call(lambda _now: self.core.persisted(index, term, ready.sequence))

    return ((Driver, "_persist", persist),)


def _forget_the_vote() -> Patches:
    honest = Driver._persist

    def persist(self: Driver, ready: Ready) -> None:
        ready.hard_state = None
        honest(self, ready)

    return ((Driver, "_persist", persist),)


def _never_sync() -> Patches:
    def sync(self: GroupCommit) -> None:
        """The bytes are in the page cache; that must do."""

    return ((GroupCommit, "sync", sync),)


def _never_sync_directories() -> Patches:
    def sync_directory(self: SimDisk, path: str) -> None:
        """As if storage had not asked."""

    return ((SimDisk, "sync_directory", sync_directory),)


def _apply_uncommitted() -> Patches:
    honest = Applier.commit_to

    def commit_to(self: Applier, index: int) -> None:
        honest(self, max(index, self._log.last_index))

    return ((Applier, "commit_to", commit_to),)


def _stale_follower_reads() -> Patches:
    async def read_index(self: GrpcForwarder, leader: object) -> int:
        return NO_INDEX

    return ((GrpcForwarder, "read_index", read_index),)


def _repeat_calls() -> Patches:
    def admit(self: SessionTable, session: Session, index: int) -> int:
        return index

    def find(self: SessionTable, session: Session) -> None:
        return None

    return ((SessionTable, "admit", admit), (SessionTable, "find", find))


def _forget_sessions() -> Patches:
    def become(self: SessionTable, other: SessionTable) -> None:
        """The table was not in the snapshot."""

    return ((SessionTable, "become", become),)


def _forget_who_was_evicted() -> Patches:
    honest = SessionTable._evict

    def evict(self: SessionTable, index: int) -> None:
        horizon = self.horizon
        honest(self, index)
        self.horizon = horizon

    return ((SessionTable, "_evict", evict),)


def _take_every_read() -> Patches:
    def begin_reads(self: Any, now: float) -> None:
        reads, self._reads = self._reads, []
        for read in reads:
            try:
                self.core.read_index(read, now, lease=True)
            except TrioraftError as error:
                read.answer.fail(error)

    return ((Driver, "_begin_reads", begin_reads),)


def _read_at_once() -> Patches:
    async def query_at(self: Any, request: bytes, index: int) -> bytes:
        answer: Slot[bytes] = Slot()
        self._applier.read_at(NO_INDEX, [Read(request, answer)])
        return await answer.wait()

    return ((GroupCalls, "query_at", query_at),)


def _watch_what_is_committed() -> Patches:
    honest = RaftCore.replicated

    def replicated(self: RaftCore, level: ReplicationLevel) -> int:
        return honest(self, ReplicationLevel.MAJORITY)

    return ((RaftCore, "replicated", replicated),)


def _bug(name: str, what: str, seeds: int, patches: Any) -> PlantedBug:
    return PlantedBug(name, "stack", what, seeds, patches)


STACK_BUGS = (
    _bug("acknowledge-before-disk", "answer before the log is on disk", 100,
         _acknowledge_before_the_disk),
    _bug("forget-vote", "keep the vote in memory only", 100, _forget_the_vote),
    _bug("never-sync", "leave the log in the page cache", 100, _never_sync),
    _bug("never-sync-directories", "leave new files out of their directories", 100,
         _never_sync_directories),
    _bug("apply-uncommitted", "apply entries before they are committed", 100,
         _apply_uncommitted),
    _bug("stale-follower-reads", "answer reads on a follower without asking the leader", 100,
         _stale_follower_reads),
    _bug("forget-the-evicted", "take an evicted session for a new one", 200,
         _forget_who_was_evicted),
    _bug("repeat-calls", "apply a retried call again", 200, _repeat_calls),
    _bug("take-every-read", "let reads wait for a quorum without a bound", 200, _take_every_read),
    _bug("read-at-once", "answer a replica's reads before it has applied their index", 100,
         _read_at_once),
    _bug("watch-too-soon", "end a watch of any level when its entry is committed", 100,
         _watch_what_is_committed),
    _bug("forget-sessions", "leave the sessions out of the snapshot", 400, _forget_sessions),
)  # fmt: skip
