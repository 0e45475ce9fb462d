"""One snapshot being written: what was captured, and who waits for it."""

from __future__ import annotations

from trioraft.node.machine import SnapshotCapture, StateMachine
from trioraft.node.session_codec import SessionsCapture
from trioraft.node.wakeups import Slot
from trioraft.raft.types import SnapshotMeta
from trioraft.storage.interface import GroupStorage

from .parts import MachineSink, write_runtime_file

__all__ = ["SnapshotJob"]


class SnapshotJob:
    """`capture` None: the machine writes itself, and must be left alone until it is done."""

    def __init__(
        self,
        meta: SnapshotMeta,
        machine: StateMachine,
        sessions: SessionsCapture,
        wanted: list[Slot[SnapshotMeta]],
        bytes_since: int,
    ) -> None:
        self.meta = meta
        self.bytes_since = bytes_since  # applied between the last snapshot and this one
        self.capture: SnapshotCapture | None = machine.capture()
        self._machine = machine
        self._sessions = sessions
        self._wanted = wanted

    async def write(self, storage: GroupStorage) -> SnapshotMeta:
        """Write it and make it the newest; the newest's meta, which may be a later one's.

        Raises StorageError. Cancelling abandons it. Lets go of the capture in any case.
        """
        try:
            async with storage.create_snapshot() as writer:
                sink = MachineSink(writer)
                if self.capture is not None:
                    await self.capture.write(sink)
                else:
                    await self._machine.snapshot(sink)
                await sink.finish()
                await write_runtime_file(writer, self._sessions)
                return await writer.commit(self.meta)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the capture. Idempotent."""
        capture, self.capture = self.capture, None
        if capture is not None:
            capture.close()

    def resolve(self, meta: SnapshotMeta) -> None:
        for slot in self._wanted:
            slot.resolve(meta)

    def fail(self, error: BaseException) -> None:
        for slot in self._wanted:
            slot.fail(error)
