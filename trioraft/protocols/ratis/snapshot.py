"""InstallSnapshot in chunk mode: file after file, in order, each with its MD5 on its last chunk.

This is the leader's end; `snapshot_reader` is the follower's. Every chunk is answered, at most
WINDOW are on their way. A state machine's only file is named as Ratis's own state machines name
theirs, `sm/snapshot.<term>_<index>`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import trio

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import SnapshotChunk
from trioraft.node.snapshots.parts import DATA_FILE
from trioraft.protocols.calls import unreachable
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Member, SnapshotMeta

from .header import Route
from .members import encode_configuration

__all__ = ["CHUNK_BYTES", "INSTALLED", "STATE_MACHINE_FOLDER", "data_file_name", "send_chunks"]

CHUNK_BYTES = 1 << 20
STATE_MACHINE_FOLDER = "sm/"  # before every file name on the wire
WINDOW = 8  # chunks that may be unanswered

#: Results that leave nothing to do for the sender of a chunk.
INSTALLED = (pb.SUCCESS, pb.SNAPSHOT_INSTALLED, pb.ALREADY_INSTALLED)


async def send_chunks(
    method: Any,
    peer: Member,
    route: Route,
    name: str,
    request: SnapshotRequest,
    chunks: AsyncIterator[SnapshotChunk],
) -> SnapshotReply:
    """Send a snapshot on a stream of its own; `method` is the stub's installSnapshot.

    `name` tells this transfer from the sender's others. Raises PeerUnreachableError; what `chunks`
    raises comes out as it is. Cancelling it resets the stream.
    """
    async with (
        aclosing(_messages(route, name, request, chunks)) as messages,
        method.open() as stream,
    ):
        sent = answered = 0
        try:
            reply: SnapshotReply | None = None
            async for message in messages:
                with unreachable(peer):
                    await stream.send_message(message)
                    sent += 1
                    while reply is None and sent - answered >= WINDOW:
                        reply = _refusal(peer, await stream.recv_message())
                        answered += 1
                if reply is not None:
                    return reply
            with unreachable(peer):
                await stream.end()
                while reply is None and answered < sent:
                    reply = _refusal(peer, await stream.recv_message())
                    answered += 1
            return reply or SnapshotReply(request.term, peer.id, True, request.meta.index)
        finally:
            if sent:
                await stream.cancel()


def _refusal(peer: Member, reply: pb.InstallSnapshotReplyProto | None) -> SnapshotReply | None:
    """None if the chunk was taken. Raises ValueError for an answer that says neither yes nor no."""
    if reply is None:
        raise ValueError("it has ended the snapshot stream")
    if reply.result in INSTALLED:
        return None
    if reply.result == pb.NOT_LEADER:
        return SnapshotReply(reply.term, peer.id, False)
    raise ValueError(f"snapshot result {pb.InstallSnapshotResult.Name(reply.result)}")


async def _messages(
    route: Route, name: str, request: SnapshotRequest, chunks: AsyncIterator[SnapshotChunk]
) -> AsyncGenerator[pb.InstallSnapshotRequestProto]:
    """The transfer's messages: small files together, or a piece of one. Raises as `_file_chunks`.

    A Java follower pauses its state machine for every message, and those modelled on Ratis's own
    tests cannot be paused twice. So a small snapshot is one message, however many files it has:
    between Java servers it is one, too, which has no file with sessions.
    """
    transfer = uuid.uuid5(
        uuid.UUID(bytes=route.group_id),
        f"{route.sender!r} {name} {request.term} {request.meta.index} {trio.current_time()!r}",
    )
    gathered: list[pb.FileChunkProto] = []
    number = size = 0
    async with aclosing(_file_chunks(request.meta, chunks)) as pieces:
        async for piece in pieces:
            full = size + len(piece.data) > CHUNK_BYTES
            if gathered and (full or not gathered[-1].done):
                yield _message(route, request, str(transfer), number, gathered, done=False)
                gathered = []
                number += 1
                size = 0
            gathered.append(piece)
            size += len(piece.data)
    yield _message(route, request, str(transfer), number, gathered, done=True)


async def _file_chunks(
    meta: SnapshotMeta, chunks: AsyncIterator[SnapshotChunk]
) -> AsyncGenerator[pb.FileChunkProto]:
    """Raises ValueError if the chunks are not the files of the snapshot."""
    missing = list(meta.files)
    done = True
    number = offset = size = 0
    digest = hashlib.md5(usedforsecurity=False)
    async with aclosing(_pieces(chunks)) as pieces:
        async for file, data in pieces:
            if done:  # with the file before it
                if not missing or missing[0].name != file:
                    raise ValueError(f"{file!r} is not what follows in this snapshot")
                size = missing.pop(0).size
                number = offset = 0
                digest = hashlib.md5(usedforsecurity=False)
            digest.update(data)
            end = offset + len(data)
            if end > size:
                raise ValueError(f"{end} bytes of {file!r}, announced as {size}")
            done = end == size
            yield pb.FileChunkProto(
                filename=_wire_name(file, meta),
                fileDigest=digest.digest() if done else b"",
                chunkIndex=number,
                offset=offset,
                data=data,
                done=done,
            )
            offset = end
            number += 1
    if missing or not done:
        raise ValueError(f"a snapshot without all of its {len(meta.files)} files")


async def _pieces(chunks: AsyncIterator[SnapshotChunk]) -> AsyncGenerator[SnapshotChunk]:
    async for file, data in chunks:
        for start in range(0, len(data), CHUNK_BYTES) or (0,):
            yield SnapshotChunk(file, data[start : start + CHUNK_BYTES])


def _wire_name(file: str, meta: SnapshotMeta) -> str:
    return STATE_MACHINE_FOLDER + (data_file_name(meta) if file == DATA_FILE else file)


def data_file_name(meta: SnapshotMeta) -> str:
    """What Ratis calls the file of a state machine that has only one."""
    return f"snapshot.{meta.term}_{meta.index}"


def _message(
    route: Route,
    request: SnapshotRequest,
    transfer: str,
    number: int,
    pieces: list[pb.FileChunkProto],
    *,
    done: bool,
) -> pb.InstallSnapshotRequestProto:
    meta = request.meta
    return pb.InstallSnapshotRequestProto(
        serverRequest=route.header(),
        leaderTerm=request.term,
        snapshotChunk=pb.InstallSnapshotRequestProto.SnapshotChunkProto(
            requestId=transfer,
            requestIndex=number,
            termIndex=pb.TermIndexProto(term=meta.term, index=meta.index),
            fileChunks=pieces,
            totalSize=meta.size,
            done=done,
        ),
        # With its index and, as Java sends it, without a term.
        lastRaftConfigurationLogEntryProto=pb.LogEntryProto(
            index=meta.configuration_index,
            configurationEntry=encode_configuration(meta.configuration),
        ),
    )
