"""The snapshots of a group: when one is taken, what it holds, how a received one is installed.

The state machine is touched in the applier's turns: there it is captured (`turn`), and there a
received snapshot takes its place (`install_if_any`). What was captured is written by a task
beside the applier (`run`), so applying goes on meanwhile.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import trio

from trioraft.node.machine import StateMachine
from trioraft.node.session_codec import SessionsCapture
from trioraft.node.sessions import SessionTable
from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Doorbell, Slot
from trioraft.raft.errors import OverloadedError, StorageError, TrioraftError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.types import NO_INDEX, NO_TERM, Configuration, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotWriter

from .job import SnapshotJob
from .parts import restore_parts

__all__ = ["Snapshots"]

logger = logging.getLogger(__name__)


class _Install(NamedTuple):
    writer: SnapshotWriter
    meta: SnapshotMeta
    installed: Callable[[SnapshotMeta], None]
    done: Slot[None]


class Snapshots:
    """Takes and installs the snapshots of one group.

    configuration_at: the configuration in force at an index, and the index of its entry.
    on_snapshot: told of each snapshot taken here, and the index of the one before it, so that
        the log can be compacted.
    sessions: kept in a file of its own beside the machine's.
    doorbell: wakes the applier for a turn.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        sessions: SessionTable,
        storage: GroupStorage,
        settings: RuntimeSettings,
        configuration_at: Callable[[int], tuple[int, Configuration]],
        on_snapshot: Callable[[SnapshotMeta, int], None],
        doorbell: Doorbell,
    ) -> None:
        self._machine = machine
        self._sessions = sessions
        self._storage = storage
        self._settings = settings
        self._configuration_at = configuration_at
        self._on_snapshot = on_snapshot
        self._doorbell = doorbell
        self._waiting: _Install | None = None  # for its turn
        self._installing: _Install | None = None
        self._wanted: list[Slot[SnapshotMeta]] = []
        self._job: SnapshotJob | None = None  # captured, being written
        self._begin = Doorbell()
        self._retry_at = -math.inf  # nothing is taken by itself before
        self._pause = settings.snapshot_retry_min
        recovered = storage.recovered
        self._newest = recovered.snapshot
        self._index = self._newest.index if self._newest else recovered.base_index
        self._bytes_since = 0

    @property
    def index(self) -> int:
        """The last entry that the newest snapshot covers, NO_INDEX without one."""
        return self._index

    @property
    def term(self) -> int:
        """The term of that entry."""
        return self._newest.term if self._newest else NO_TERM

    @property
    def waiting(self) -> bool:
        """A received snapshot waits for its turn."""
        return self._waiting is not None

    def due(self, applied: int) -> bool:
        """Somebody wants a snapshot at `applied`, or it is time."""
        return bool(self._wanted) or self._is_due(applied)

    # -- from any task

    async def take(self) -> SnapshotMeta:
        """Snapshot at the applied index, after what is being applied now.

        If the newest one is of that index, it is that one. Raises TrioraftError if nothing has
        been applied yet, StorageError if it cannot be written, OverloadedError if `max_orders`
        callers wait for the next one, GroupStoppedError. Cancelling stops waiting, not the
        snapshot.
        """
        if len(self._wanted) >= self._settings.max_orders:
            raise OverloadedError(f"{len(self._wanted)} callers wait for the next snapshot")
        done: Slot[SnapshotMeta] = Slot()
        self._wanted.append(done)
        self._doorbell.ring()
        try:
            return await done.wait()
        except trio.Cancelled:
            # The last of them stands for all: the snapshot is still wanted.
            if done in self._wanted and len(self._wanted) > 1:
                self._wanted.remove(done)
            raise

    async def install(
        self,
        writer: SnapshotWriter,
        meta: SnapshotMeta,
        installed: Callable[[SnapshotMeta], None],
    ) -> None:
        """Make a received snapshot durable and restore the machine from it, in its turn.

        `installed` is called from the applier when that is done. Cancelling while it waits for
        its turn drops it; once begun it runs to its end, and is waited for, because `writer`
        must stay open until then.
        """
        request = _Install(writer, meta, installed, Slot())
        if self._waiting is not None:
            self._waiting.done.fail(OverloadedError("a newer snapshot has taken its turn"))
        self._waiting = request
        self._doorbell.ring()
        try:
            await request.done.wait()
        except trio.Cancelled:
            if self._waiting is request:
                self._waiting = None
            else:
                with trio.CancelScope(shield=True):
                    await request.done.wait()
            raise

    def stop(self, error: BaseException) -> None:
        """Fail everything that waits, when the group has stopped."""
        for wanted in self._wanted:
            wanted.fail(error)
        self._wanted.clear()
        if self._job is not None:
            self._job.fail(error)
            self._job.close()
        for request in (self._waiting, self._installing):
            if request is not None:
                request.done.fail(error)

    # -- the writing task

    async def run(self) -> None:
        """Write what was captured, until cancelled; an unfinished snapshot is then deleted."""
        while True:
            # Woken by a capture, by a failure that sets `_retry_at`, and when that has come.
            ahead = self._retry_at > trio.current_time()
            with trio.move_on_at(self._retry_at if ahead else math.inf) as waited:
                await self._begin.wait()
            if waited.cancelled_caught:
                self._doorbell.ring()
            elif self._job is not None and self._job.capture is not None:
                await self._write(self._job)

    async def _write(self, job: SnapshotJob) -> None:
        """A snapshot that cannot be written is reported and tried again; the group goes on."""
        settings = self._settings
        try:
            meta = await job.write(self._storage)
        except StorageError as error:
            logger.warning(
                "no snapshot at entry %d, next try in %g s: %s", job.meta.index, self._pause, error
            )
            self._bytes_since += job.bytes_since
            self._retry_at = trio.current_time() + self._pause
            self._pause = min(self._pause * 2, settings.snapshot_retry_max)
            job.fail(error)
            self._begin.ring()
        else:
            self._pause = settings.snapshot_retry_min
            self._retry_at = -math.inf
            if meta.index > self._index:
                before, self._newest, self._index = self._index, meta, meta.index
                self._on_snapshot(meta, before)
            job.resolve(meta)
        self._job = None
        self._doorbell.ring()

    # -- the applier's turns

    async def restore_latest(self) -> None:
        """Bring machine and sessions to the newest snapshot, when the group starts."""
        if self._newest is not None:
            await self._restore()

    def count(self, size: int) -> None:
        """`size` more bytes have been applied."""
        self._bytes_since += size

    async def take_if_due(self, applied: int, term: int) -> None:
        """Take a snapshot at `applied`, an entry of `term`, if somebody wants one or it is time.

        One at a time: what is wanted while one is being written has its turn after it. Waits
        only for a machine that can't be captured, until it has written itself.
        """
        if self._job is not None or not (self._wanted or self._is_due(applied)):
            return
        wanted, self._wanted = self._wanted, []
        if applied == NO_INDEX:
            for slot in wanted:
                slot.fail(TrioraftError("nothing has been applied yet: nothing to snapshot"))
            return
        if self._newest is not None and self._newest.index == applied:
            for slot in wanted:
                slot.resolve(self._newest)
            return
        at, configuration = self._configuration_at(applied)
        meta = SnapshotMeta(applied, term, configuration, configuration_index=at)
        sessions = SessionsCapture(self._sessions)
        self._job = SnapshotJob(meta, self._machine, sessions, wanted, self._bytes_since)
        self._bytes_since = 0
        if self._job.capture is None:
            await self._write(self._job)
        else:
            self._begin.ring()

    async def install_if_any(self, applied: int) -> SnapshotMeta | None:
        """Install a received snapshot that waits; its meta if the machine stands there now.

        One that cannot be made durable is refused, and whoever sent it told so.
        """
        request = self._waiting
        if request is None:
            return None
        self._waiting, self._installing = None, request
        meta, restored = request.meta, None
        if meta.index > applied:
            try:
                meta = restored = await request.writer.commit(meta)
            except StorageError as error:
                logger.warning("a received snapshot cannot be kept: %s", error)
                self._installing = None
                request.done.fail(error)
                return None
            self._newest, self._index, self._bytes_since = meta, meta.index, 0
            await self._restore()
        self._installing = None
        request.installed(meta)
        request.done.resolve(None)
        return restored

    async def _restore(self) -> None:
        async with self._storage.open_snapshot() as reader:
            await restore_parts(reader, self._machine, self._sessions)

    def _is_due(self, applied: int) -> bool:
        settings = self._settings
        entries, size = applied - self._index, self._bytes_since
        if entries < settings.snapshot_after_entries and size < settings.snapshot_after_bytes:
            return False
        # A large state is not written again before as much has changed: writing snapshots stays
        # a constant part of the work, and the log at most about as long as the state.
        last = self._newest.size if self._newest else 0
        return size + entries * ENTRY_OVERHEAD >= last and trio.current_time() >= self._retry_at
