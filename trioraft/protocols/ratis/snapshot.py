"""InstallSnapshot in chunk mode: a snapshot as one file, in order, with its MD5 on the last chunk.

This is the leader's end; `snapshot_reader` is the follower's. Every chunk is answered, at most
WINDOW are on their way. The file is named as Ratis's own state machines name theirs,
`sm/snapshot.<term>_<index>`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import trio

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.calls import unreachable
from trioraft.raft.types import Member, SnapshotReply, SnapshotRequest

from .header import Route
from .members import encode_configuration

__all__ = ["CHUNK_BYTES", "INSTALLED", "send_chunks"]

CHUNK_BYTES = 1 << 20
WINDOW = 8  # chunks that may be unanswered

#: Results that leave nothing to do for the sender of a chunk.
INSTALLED = (pb.SUCCESS, pb.SNAPSHOT_INSTALLED, pb.ALREADY_INSTALLED)


async def send_chunks(
    method: Any,
    peer: Member,
    route: Route,
    name: str,
    request: SnapshotRequest,
    chunks: AsyncIterator[bytes],
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
    route: Route, name: str, request: SnapshotRequest, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[pb.InstallSnapshotRequestProto]:
    """The transfer's messages. One piece is held back, because the last one is marked."""
    meta = request.meta
    transfer = uuid.uuid5(
        uuid.UUID(bytes=route.group_id),
        f"{route.sender!r} {name} {request.term} {meta.index} {trio.current_time()!r}",
    )
    digest = hashlib.md5(usedforsecurity=False)
    offset = number = 0
    held = b""
    async with aclosing(_pieces(chunks)) as pieces:
        async for piece in pieces:
            if held:
                yield _message(route, request, str(transfer), number, offset, held, b"")
                number += 1
                offset += len(held)
            digest.update(piece)
            held = piece
    if meta.size and offset + len(held) != meta.size:
        raise ValueError(f"a snapshot of {offset + len(held)} bytes, announced as {meta.size}")
    yield _message(route, request, str(transfer), number, offset, held, digest.digest())


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        for start in range(0, len(chunk), CHUNK_BYTES):
            yield chunk[start : start + CHUNK_BYTES]


def _message(
    route: Route,
    request: SnapshotRequest,
    transfer: str,
    number: int,
    offset: int,
    data: bytes,
    digest: bytes,
) -> pb.InstallSnapshotRequestProto:
    """One chunk; the last one is known by its digest."""
    meta = request.meta
    chunk = pb.FileChunkProto(
        filename=f"sm/snapshot.{meta.term}_{meta.index}",
        fileDigest=digest,
        chunkIndex=number,
        offset=offset,
        data=data,
        done=bool(digest),
    )
    return pb.InstallSnapshotRequestProto(
        serverRequest=route.header(),
        leaderTerm=request.term,
        snapshotChunk=pb.InstallSnapshotRequestProto.SnapshotChunkProto(
            requestId=transfer,
            requestIndex=number,
            termIndex=pb.TermIndexProto(term=meta.term, index=meta.index),
            fileChunks=[chunk],
            totalSize=meta.size,
            done=bool(digest),
        ),
        # With its index and, as Java sends it, without a term.
        lastRaftConfigurationLogEntryProto=pb.LogEntryProto(
            index=meta.configuration_index,
            configurationEntry=encode_configuration(meta.configuration),
        ),
    )
