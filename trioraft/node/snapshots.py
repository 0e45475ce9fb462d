"""The snapshots of a group: when one is taken, what it holds, how a received one is installed.

The state machine is touched only in the applier's turns, so both happen there: the applier
calls `install_if_any` and `take_if_due` between its batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from trioraft.raft.errors import OverloadedError, TrioraftError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.types import NO_INDEX, NO_TERM, Configuration, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotWriter

from .machine import StateMachine
from .settings import RuntimeSettings
from .wakeups import Doorbell, Slot

__all__ = ["Snapshots"]


class _Install(NamedTuple):
    writer: SnapshotWriter
    meta: SnapshotMeta
    installed: Callable[[SnapshotMeta], None]
    done: Slot[None]


class Snapshots:
    """Takes and installs the snapshots of one group.

    configuration_at: the configuration in force at an index, and the index of its entry.
    on_snapshot: told of each snapshot taken here, so that the log can be compacted.
    doorbell: wakes the applier for a turn.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        storage: GroupStorage,
        settings: RuntimeSettings,
        configuration_at: Callable[[int], tuple[int, Configuration]],
        on_snapshot: Callable[[SnapshotMeta], None],
        doorbell: Doorbell,
    ) -> None:
        self._machine = machine
        self._storage = storage
        self._settings = settings
        self._configuration_at = configuration_at
        self._on_snapshot = on_snapshot
        self._doorbell = doorbell
        self._waiting: _Install | None = None  # for its turn
        self._installing: _Install | None = None
        self._wanted: list[Slot[SnapshotMeta]] = []
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

    # -- from any task

    async def take(self) -> SnapshotMeta:
        """Snapshot at the applied index, after what is being applied now.

        Raises TrioraftError if nothing has been applied yet.
        """
        done: Slot[SnapshotMeta] = Slot()
        self._wanted.append(done)
        self._doorbell.ring()
        return await done.wait()

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
        for request in (self._waiting, self._installing):
            if request is not None:
                request.done.fail(error)

    # -- the applier's turns

    async def restore_latest(self) -> None:
        """Bring the machine to the newest snapshot, when the group starts."""
        if self._newest is not None:
            async with self._storage.open_snapshot() as reader:
                await self._machine.restore(reader)

    def count(self, size: int) -> None:
        """`size` more bytes have been applied."""
        self._bytes_since += size

    async def take_if_due(self, applied: int, term: int) -> None:
        """Take a snapshot at `applied`, an entry of `term`, if somebody wants one or it is time."""
        if not self._wanted and not self._is_due(applied):
            return
        if applied == NO_INDEX:
            wanted, self._wanted = self._wanted, []
            for slot in wanted:
                slot.fail(TrioraftError("nothing has been applied yet: nothing to snapshot"))
            return
        configuration_index, configuration = self._configuration_at(applied)
        meta = SnapshotMeta(applied, term, configuration, configuration_index=configuration_index)
        async with self._storage.create_snapshot() as writer:
            await self._machine.snapshot(writer)
            meta = await writer.commit(meta)
        self._become(meta)
        self._on_snapshot(meta)
        wanted, self._wanted = self._wanted, []
        for slot in wanted:
            slot.resolve(meta)

    async def install_if_any(self, applied: int) -> SnapshotMeta | None:
        """Install a received snapshot that waits; its meta if the machine stands there now."""
        request = self._waiting
        if request is None:
            return None
        self._waiting, self._installing = None, request
        meta, restored = request.meta, None
        if meta.index > applied:
            meta = restored = await request.writer.commit(meta)
            async with self._storage.open_snapshot() as reader:
                await self._machine.restore(reader)
            self._become(meta)
        self._installing = None
        request.installed(meta)
        request.done.resolve(None)
        return restored

    def _is_due(self, applied: int) -> bool:
        settings = self._settings
        entries, size = applied - self._index, self._bytes_since
        if entries < settings.snapshot_after_entries and size < settings.snapshot_after_bytes:
            return False
        # A large state is not written again before as much has changed: writing snapshots stays
        # a constant part of the work, and the log at most about as long as the state.
        last = self._newest.size if self._newest else 0
        return size + entries * ENTRY_OVERHEAD >= last

    def _become(self, meta: SnapshotMeta) -> None:
        self._newest = meta
        self._index = meta.index
        self._bytes_since = 0
