"""The snapshot sender: what a leader runs for a follower that needs entries it no longer has.

It sleeps until the core asks for a snapshot, sends the newest one, and tells the core how that
went. It lives beside the follower's entry and heartbeat streams, so a transfer holds up neither.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from trioraft.node.peers import PeerTransport, PeerUnreachableError, SnapshotChunk
from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Doorbell
from trioraft.raft.errors import StorageError
from trioraft.raft.messages import AppendReply, SnapshotRequest
from trioraft.raft.types import NO_INDEX, NodeId, SnapshotMeta
from trioraft.storage.interface import GroupStorage, SnapshotReader

from .parts import is_runtime_file

__all__ = ["ReaderChunks", "SnapshotEvents", "SnapshotSender"]

logger = logging.getLogger(__name__)


class SnapshotEvents(Protocol):
    """What a sender tells the driver; plain calls that never block."""

    def append_replies(self, replies: Sequence[AppendReply]) -> None:
        """Hand answers in. Raises PeerUnreachableError if the inbox has no room for all, or the
        group has stopped: the rest is lost, and the stream is to be given up."""

    def snapshot_finished(self, follower: str, meta: SnapshotMeta | None) -> None: ...


class SnapshotSender:
    """Sends snapshots to one follower for one term; `run` ends only by cancellation."""

    def __init__(
        self,
        *,
        term: int,
        leader: NodeId,
        follower: NodeId,
        transport: PeerTransport,
        storage: GroupStorage,
        events: SnapshotEvents,
        settings: RuntimeSettings,
    ) -> None:
        self._term = term
        self._leader = leader
        self._follower = follower
        self._transport = transport
        self._storage = storage
        self._events = events
        self._settings = settings
        self._bell = Doorbell()

    def post(self) -> None:
        """Send the newest snapshot; the core asks again only after `snapshot_finished`."""
        self._bell.ring()

    async def run(self) -> None:
        """Serve `post` until cancelled; a cancelled transfer is dropped by the follower."""
        while True:
            await self._bell.wait()
            meta: SnapshotMeta | None = None
            try:
                meta = await self._send()
            except PeerUnreachableError as error:
                logger.info("snapshot to %s failed, will probe again: %s", self._follower, error)
            except StorageError as error:
                # Of no use to this follower or the next, but the log and the machine are whole.
                logger.error("the snapshot for %s cannot be read: %s", self._follower, error)
            if meta is None:
                await trio.sleep(self._settings.reconnect_max)
            self._events.snapshot_finished(self._follower, meta)

    async def _send(self) -> SnapshotMeta | None:
        """The snapshot that the follower has now, None if it took none."""
        async with self._storage.open_snapshot() as reader:
            meta = reader.meta
            logger.info(
                "sending snapshot %d (%d bytes) to %s", meta.index, meta.size, self._follower
            )
            request = SnapshotRequest(
                self._term, self._leader, meta, notice=self._settings.fetch_snapshots
            )
            chunks = ReaderChunks(reader, self._settings.snapshot_chunk_bytes)
            reply = await self._transport.send_snapshot(request, chunks)
        if reply.term > self._term:
            # Only the term matters: the core steps down on it.
            self._events.append_replies([AppendReply(reply.term, self._follower, False, NO_INDEX)])
            return None
        return meta if reply.success else None


class ReaderChunks:
    """Implements `peers.SnapshotChunks` over an open snapshot."""

    def __init__(self, reader: SnapshotReader, size: int) -> None:
        self._reader = reader
        self._size = size
        self._files = reader.meta.files
        self._file = -1  # the one being read, by number
        self._left = 0  # bytes of it
        self._start = 0, 0

    def runtime_only(self) -> None:
        """See `SnapshotChunks.runtime_only`."""
        self._files = tuple(file for file in self._files if is_runtime_file(file.name))

    def seek(self, files: int, offset: int) -> None:
        """See `SnapshotChunks.seek`."""
        sizes = [file.size for file in self._files]
        if files > len(sizes) or offset > (sizes[files] if files < len(sizes) else 0):
            raise ValueError(f"a snapshot of {len(sizes)} files, wanted from {files}:{offset} on")
        self._start = files, offset

    def __aiter__(self) -> ReaderChunks:
        return self

    async def __anext__(self) -> SnapshotChunk:
        files = self._files
        if self._left:
            return await self._read(files[self._file].name)
        number = self._file + 1 if self._file >= 0 else self._start[0]
        if number == len(files):
            raise StopAsyncIteration
        offset = self._start[1] if self._file < 0 else 0
        file = files[number]
        await self._reader.open_file(file.name, offset)
        self._file, self._left = number, file.size - offset
        if not self._left:
            return SnapshotChunk(file.name, b"")
        return await self._read(file.name)

    async def _read(self, name: str) -> SnapshotChunk:
        data = await self._reader.read(self._size)
        self._left -= len(data)
        return SnapshotChunk(name, data)
