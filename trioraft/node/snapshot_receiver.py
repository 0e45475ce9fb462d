"""The receiving end of a snapshot transfer: spools what arrives, then has it installed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from trioraft.raft.errors import OverloadedError
from trioraft.raft.types import SnapshotMeta, SnapshotReply, SnapshotRequest
from trioraft.storage.interface import GroupStorage

from .driver import Driver
from .peers import SnapshotChunk
from .snapshots import Snapshots
from .wakeups import Slot

__all__ = ["SnapshotReceiver"]


class SnapshotReceiver:
    """Takes in the snapshots that leaders send to one group, one at a time."""

    def __init__(self, driver: Driver, snapshots: Snapshots, storage: GroupStorage) -> None:
        self._driver = driver
        self._snapshots = snapshots
        self._storage = storage
        self._receiving: trio.CancelScope | None = None

    async def receive(
        self, request: SnapshotRequest, chunks: AsyncIterator[SnapshotChunk]
    ) -> SnapshotReply:
        """See `PeerHandler.handle_snapshot`; a newer sender takes the place of an older one."""
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
                    file = None
                    async for chunk in chunks:
                        if chunk.file != file:
                            file = chunk.file
                            await writer.create_file(file)
                        await writer.write(chunk.data)
                    await self._snapshots.install(writer, request.meta, installed)
            finally:
                if self._receiving is scope:
                    self._receiving = None
            return await answer.wait()
        raise OverloadedError("another snapshot has taken the place of this one")
