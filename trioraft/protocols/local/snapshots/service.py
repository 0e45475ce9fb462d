"""The receiving end of a snapshot transfer between trioraft nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from trioraft._proto.local import snapshot_pb2 as pb
from trioraft._proto.local.snapshot_grpc import SnapshotServiceBase
from trioraft.node.peers import PeerRouter, SnapshotChunk, UnknownGroupError
from trioraft.node.snapshots.parts import is_runtime_file
from trioraft.raft.errors import OverloadedError, TrioraftError
from trioraft.raft.types import SnapshotFile
from trioraft.rpc import GRPCError, Status

from .codec import decode_header, encode_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trioraft.rpc import ServerStream

__all__ = ["SnapshotService"]


class SnapshotService(SnapshotServiceBase):
    """Serves `schema/local/snapshot.proto` for one host."""

    def __init__(self, router: PeerRouter) -> None:
        self._router = router

    async def Install(self, stream: ServerStream[Any, Any]) -> None:  # type: ignore[override]
        """One transfer. Cancelling it keeps what has arrived for the next one, for a while.

        Fails with NOT_FOUND for a group that is not here, INVALID_ARGUMENT for what no correct
        peer sends, DATA_LOSS for damaged bytes, RESOURCE_EXHAUSTED when another transfer takes
        the place of this one, UNAVAILABLE when the group has stopped or cannot keep it.
        """
        try:
            await self._install(stream)
        except UnknownGroupError as error:
            raise GRPCError(Status.NOT_FOUND, str(error)) from error
        except ValueError as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        except OverloadedError as error:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, str(error)) from error
        except TrioraftError as error:
            raise GRPCError(Status.UNAVAILABLE, str(error)) from error

    async def _install(self, stream: ServerStream[Any, Any]) -> None:
        first = await stream.recv_message()
        if first is None or not first.HasField("header"):
            raise ValueError("a snapshot begins with its header")
        request = decode_header(first.header)
        handler = self._router.find(first.header.group_id)
        files = request.meta.files
        if request.notice:
            files = tuple(file for file in files if is_runtime_file(file.name))
        chunks = _Chunks(stream, files)
        reply = await handler.handle_snapshot(request, chunks, chunks.resume)
        await stream.send_message(pb.SnapshotReply(outcome=encode_outcome(reply)))


class _Chunks:
    """The chunks of a transfer, each checked; the stream's window follows whoever takes them."""

    def __init__(self, stream: ServerStream[Any, Any], files: Sequence[SnapshotFile]) -> None:
        self._stream = stream
        self._files = files
        self._number = 0
        self._missing = files[0].size if files else 0

    async def resume(self, files: int, offset: int) -> None:
        """See `peers.Resume`."""
        self._number = files
        self._missing = (self._files[files].size if files < len(self._files) else 0) - offset
        position = pb.SnapshotPosition(files=files, offset=offset)
        await self._stream.send_message(pb.SnapshotReply(resume=position))

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> SnapshotChunk:
        message = await self._stream.recv_message()
        if message is None:
            if self._missing or self._number < len(self._files):
                raise GRPCError(Status.DATA_LOSS, "the snapshot ended before its last chunk")
            raise StopAsyncIteration
        if self._number >= len(self._files):
            raise ValueError("more chunks than the snapshot has")
        data: bytes = message.data
        file = self._files[self._number]
        if crc32(data) != message.checksum:
            raise GRPCError(Status.DATA_LOSS, f"a chunk of {file.name!r} is damaged")
        self._missing -= len(data)
        if self._missing < 0 or (not data and self._missing):
            raise ValueError(f"a chunk of {len(data)} bytes does not fit into {file.name!r}")
        if not self._missing:
            self._number += 1
            if self._number < len(self._files):
                self._missing = self._files[self._number].size
        return SnapshotChunk(file.name, data)
