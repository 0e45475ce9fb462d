"""The receiving end of a snapshot transfer: spools what arrives, then has it installed.

One at a time. What a broken transfer has brought stays for a while, so that the next one of the
same snapshot goes on from there; a transfer of another snapshot takes its place.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack

import trio

from trioraft.node.driver import Driver
from trioraft.node.machine import SnapshotOffer
from trioraft.node.peers import Resume, SnapshotChunk
from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Doorbell, Slot
from trioraft.raft.errors import (
    ConfigurationError,
    GroupStoppedError,
    OverloadedError,
    StorageError,
)
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import SnapshotFile, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotWriter

from .fetch import SnapshotFetch
from .notices import leader_address
from .parts import is_runtime_file
from .snapshots import Snapshots

__all__ = ["SnapshotReceiver"]


class _Spool:
    """A snapshot that is arriving, or that waits for its sender to come back."""

    def __init__(
        self, meta: SnapshotMeta, writer: SnapshotWriter, stack: AsyncExitStack, *, notice: bool
    ) -> None:
        self.meta = meta
        self.notice = notice  # the machine's files do not arrive, it fetches them
        self.writer = writer
        self.file: str | None = None  # being written
        self.expires = math.inf
        self._stack = stack

    def is_of(self, meta: SnapshotMeta) -> bool:
        """Whether `meta` stands for the same bytes: the same place, files and checksums."""
        return bool(meta.files) and (meta, meta.files) == (self.meta, self.meta.files)

    async def take(self, chunk: SnapshotChunk) -> None:
        """Write a chunk whole or not at all: cancelling waits for the disk, about a MiB of it."""
        with trio.CancelScope(shield=True):
            if chunk.file != self.file:
                await self.writer.create_file(chunk.file)
                self.file = chunk.file
            await self.writer.write(chunk.data)
        await trio.lowlevel.checkpoint_if_cancelled()

    async def check(self) -> None:
        """Raises ValueError if what was announced is not what has arrived."""
        with trio.CancelScope(shield=True):
            files = await self.writer.finish()
        announced = self.meta.files
        if self.notice:
            files, announced = _of_runtime(files), _of_runtime(announced)
        if self.meta.files and files != announced:
            raise ValueError(f"the snapshot is {files}, announced as {announced}")

    async def close(self) -> None:
        """Delete it, unless it has become the newest snapshot. Shielded."""
        with trio.CancelScope(shield=True):
            await self._stack.aclose()


def _of_runtime(files: Sequence[SnapshotFile]) -> tuple[SnapshotFile, ...]:
    return tuple(file for file in files if is_runtime_file(file.name))


class SnapshotReceiver:
    """Takes in the snapshots that leaders send to one group."""

    def __init__(
        self,
        driver: Driver,
        snapshots: Snapshots,
        fetch: SnapshotFetch,
        storage: GroupStorage,
        settings: RuntimeSettings,
    ) -> None:
        self._driver = driver
        self._snapshots = snapshots
        self._fetch = fetch
        self._storage = storage
        self._settings = settings
        self._receiving: trio.CancelScope | None = None
        # What a leader has told of and the machine fetches: that leader's term, and its scope.
        self._fetching: tuple[int, trio.CancelScope] | None = None
        self._turn = trio.Lock()
        self._kept: _Spool | None = None
        self._bell = Doorbell()
        self._ended = False

    async def run(self) -> None:
        """Delete what nobody goes on with in time, until cancelled; then all of it."""
        try:
            while True:
                with trio.move_on_at(self._kept.expires if self._kept else math.inf):
                    await self._bell.wait()
                if self._kept is not None and trio.current_time() >= self._kept.expires:
                    spool, self._kept = self._kept, None
                    await spool.close()
        finally:
            # Calls of peers live in their connections, not in the group: they end here, too.
            self._ended = True
            if self._receiving is not None:
                self._receiving.cancel()
            if self._kept is not None:
                await self._kept.close()

    async def receive(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume | None = None,
    ) -> SnapshotReply:
        """See `PeerHandler.handle_snapshot`; a newer sender takes the place of an older one.

        Raises OverloadedError for a transfer whose place was taken, StorageError if the disk
        does not take it, ValueError for what no correct peer sends; SnapshotFetchError, and
        ConfigurationError where machines don't fetch; the group goes on. GroupStoppedError.
        """
        if request.notice:
            if not self._settings.fetch_snapshots:
                raise ConfigurationError("state machines do not fetch snapshots in this group")
            self._fetch.check()
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
                async with self._turn:
                    with ExitStack() as stack:
                        if request.notice:
                            meta = request.meta
                            stack.enter_context(self._fetch.attempt(meta.index, request.leader))
                        await self._take(request, chunks, resume, scope, installed)
            finally:
                if self._receiving is scope:
                    self._receiving = None
            return await answer.wait()
        if self._ended:
            raise GroupStoppedError("the group has stopped on this node")
        raise OverloadedError("another snapshot, or leader, has taken the place of this one")

    def leader_changed(self) -> None:
        """Give up fetching what another term's leader told of."""
        if self._fetching is not None and self._fetching[0] != self._driver.core.term:
            self._fetching[1].cancel()

    async def _take(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume | None,
        scope: trio.CancelScope,
        installed: Callable[[SnapshotMeta], None],
    ) -> None:
        spool = await self._spool(request, resume is not None)
        await self._fill(spool, chunks, resume)
        try:
            if request.notice:
                self._fetching = request.term, scope
                self.leader_changed()  # it may have while the runtime's files came in
                try:
                    await self._fetch_into(spool, request)
                finally:
                    self._fetching = None
            await self._snapshots.install(spool.writer, request.meta, installed)
        finally:
            await spool.close()

    async def _fetch_into(self, spool: _Spool, request: SnapshotRequest) -> None:
        meta, address = request.meta, leader_address(self._driver, request)
        offer = SnapshotOffer(request.leader, address, meta.index, meta.term, exact=True)
        await self._fetch.into(spool.writer, offer, request.term)
        await spool.check()

    async def _spool(self, request: SnapshotRequest, resumes: bool) -> _Spool:
        meta = request.meta
        kept, self._kept = self._kept, None
        if kept is not None:
            if resumes and kept.is_of(meta) and not request.notice:
                return kept
            await kept.close()
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(self._storage.create_snapshot())
            return _Spool(meta, writer, stack.pop_all(), notice=request.notice)

    async def _fill(
        self, spool: _Spool, chunks: AsyncIterator[SnapshotChunk], resume: Resume | None
    ) -> None:
        """Take all chunks. A transfer that breaks off is kept if it can be gone on with."""
        try:
            if resume is not None:
                await resume(*spool.writer.position)
            async for chunk in chunks:
                await spool.take(chunk)
            if not spool.notice:
                await spool.check()
        except (ValueError, StorageError):
            await spool.close()
            raise
        except BaseException:
            if resume is None or not spool.meta.files or spool.notice or self._ended:
                await spool.close()
            else:
                spool.expires = trio.current_time() + self._settings.partial_snapshot_timeout
                self._kept = spool
                self._bell.ring()
            raise
