"""Snapshots between openraft peers, whole, refused and damaged."""

from __future__ import annotations

import msgpack
import pytest
from openraft_kit import OPENRAFT, T3, T5, raw
from peer_wire import Wire, pieces, settle, wired

from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.openraft.payload import unwrap, wrap
from trioraft.protocols.openraft.snapshots import CHUNK_BYTES
from trioraft.protocols.openraft.terms import pack_term
from trioraft.raft.messages import (
    SnapshotReply,
    SnapshotRequest,
)
from trioraft.raft.types import (
    Configuration,
    Member,
    SnapshotFile,
    SnapshotMeta,
)
from trioraft.rpc import Cardinality, GRPCError, Status

CONFIGURATION = Configuration((Member("1", "a:1"), Member("2", "b:2")))


def snapshot(size: int) -> SnapshotRequest:
    meta = SnapshotMeta(40, T3, CONFIGURATION, size, 12, (SnapshotFile("state", size, 0),))
    return SnapshotRequest(T5, "1", meta)


@pytest.mark.parametrize(
    "chunks",
    [(), (b"tiny",), (bytes(range(256)), b"", b"b"), (b"\xff" * (2 * CHUNK_BYTES + 5),)],
)
async def test_snapshots_arrive_whole(chunks: tuple[bytes, ...]) -> None:
    data = b"".join(chunks)
    async with wired(OPENRAFT, "1", "2") as wire:
        reply = await wire.transport.send_snapshot(snapshot(len(data)), pieces(*chunks))
        assert reply == SnapshotReply(T5, "2", True, 40)
        assert wire.group.snapshots == [(snapshot(len(data)), {"state": data})]


async def test_a_refused_snapshot_names_the_term() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.reads_snapshot = False
        wire.group.snapshot_reply = lambda request: SnapshotReply(pack_term(9, 3), "2", False)
        chunks = pieces(*[bytes(CHUNK_BYTES)] * 20)
        reply = await wire.transport.send_snapshot(snapshot(20 * CHUNK_BYTES), chunks)
        assert reply == SnapshotReply(pack_term(9, 3), "2", False)


async def test_a_snapshot_of_another_size_than_announced_is_not_finished() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        with pytest.raises(ValueError, match="announced as 5"):
            await wire.transport.send_snapshot(snapshot(5), pieces(b"abc"))
        await settle()
        assert wire.group.snapshots == []


HEADER = {"Header": [[[5, 1], True], [[[3, 1], 4], [None, [[], {}]], "id"], 3, None]}


async def transfer(wire: Wire, *messages: object) -> bytes:
    async with raw(wire, "Snapshot", Cardinality.STREAM_UNARY) as stream:
        await stream.send_request()
        for message in messages:
            await stream.send_message(wrap(msgpack.packb(message)))
        await stream.end()
        answer: bytes | None = await stream.recv_message()
        assert answer is not None
        return unwrap(answer)


async def test_bytes_may_come_as_bin() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        answer = await transfer(wire, HEADER, {"DataChunk": b"ab"}, {"DataChunk": [255]})
        assert msgpack.unpackb(answer) == [[[5, 1], True]]
        assert wire.group.snapshots[0][1] == {"state": b"ab\xff"}


@pytest.mark.parametrize(
    ("messages", "status", "problem"),
    [
        ([], Status.INVALID_ARGUMENT, "begins with its header"),
        ([{"DataChunk": [1]}], Status.INVALID_ARGUMENT, "begins with its header"),
        ([HEADER, HEADER], Status.INVALID_ARGUMENT, "a second header"),
        ([HEADER, {"DataChunk": [256]}], Status.INVALID_ARGUMENT, "not bytes"),
        ([HEADER, {"DataChunk": "abc"}], Status.INVALID_ARGUMENT, "bytes are expected"),
        ([HEADER, {"DataChunk": [1, 2]}], Status.DATA_LOSS, "1 bytes are missing"),
        ([HEADER, {"DataChunk": [1] * 5}], Status.DATA_LOSS, "2 bytes too many"),
    ],
)
async def test_damaged_transfers_are_refused(
    messages: list[object], status: Status, problem: str
) -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        with pytest.raises(GRPCError, match=problem) as raised:
            await transfer(wire, *messages)
        assert raised.value.status is status
        assert wire.group.snapshots == []


async def test_a_snapshot_that_was_neither_installed_nor_outvoted_is_an_error() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.snapshot_reply = lambda request: SnapshotReply(request.term, "2", False)
        with pytest.raises(PeerUnreachableError, match="was not installed"):
            await wire.transport.send_snapshot(snapshot(1), pieces(b"a"))
