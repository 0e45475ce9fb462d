"""Snapshots between trioraft nodes: resumed, checked, and as the dialect does it elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from zlib import crc32

import pytest
import trio
from fake_group import GROUP, FakeRouter
from peer_wire import Chunks, Wire, wired

from trioraft._proto.local import snapshot_pb2 as pb
from trioraft._proto.local.snapshot_grpc import SnapshotServiceStub
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols import dialect
from trioraft.protocols.local.snapshots import SnapshotService, SnapshotTransport
from trioraft.protocols.local.snapshots.codec import encode_chunk, encode_header
from trioraft.raft.errors import OverloadedError, StorageError
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Configuration, Member, SnapshotFile, SnapshotMeta
from trioraft.rpc import GRPCError, Service, Status

CONFIGURATION = Configuration((Member("n0", "a:1"), Member("n1", "b:2", 3)))
FILES = {"state": b"abcdefgh", "empty": b"", "_sessions": b"xyz"}
BIG_TERM = 1 << 100


def request(files: dict[str, bytes] = FILES) -> SnapshotRequest:
    described = tuple(SnapshotFile(name, len(data), 7) for name, data in files.items())
    size = sum(map(len, files.values()))
    meta = SnapshotMeta(40, BIG_TERM - 1, CONFIGURATION, size, 12, described)
    return SnapshotRequest(BIG_TERM, "n0", meta)


@asynccontextmanager
async def linked(*, served: bool = True) -> AsyncIterator[tuple[Wire, SnapshotTransport]]:
    """A follower, and a leader that sends snapshots by the service of trioraft nodes."""

    def more(router: FakeRouter) -> list[Service]:
        return [SnapshotService(router)] if served else []

    async with wired(dialect("ratis"), "n0", "n1", more=more) as wire:
        peer = Member("n1", "b:2")
        yield wire, SnapshotTransport(wire.transport, wire.channel, GROUP, peer)


async def test_all_files_and_the_description_arrive() -> None:
    async with linked() as (wire, transport):
        chunks = Chunks(*FILES.items())
        reply = await transport.send_snapshot(request(), chunks)
        assert reply == SnapshotReply(BIG_TERM, "n1", True, 40)
        [(got, files)] = wire.group.snapshots
        assert (got, got.meta.files, files) == (request(), request().meta.files, FILES)
        assert chunks.sought == (0, 0)


@pytest.mark.parametrize(
    ("at", "left"),
    [
        ((0, 3), {"state": b"defgh", "empty": b"", "_sessions": b"xyz"}),
        ((0, 8), {"state": b"", "empty": b"", "_sessions": b"xyz"}),
        ((1, 0), {"empty": b"", "_sessions": b"xyz"}),
        ((2, 2), {"_sessions": b"z"}),
        ((3, 0), {}),
    ],
)
async def test_a_transfer_goes_on_where_the_follower_stands(
    at: tuple[int, int], left: dict[str, bytes]
) -> None:
    async with linked() as (wire, transport):
        wire.group.resumes_at = at
        chunks = Chunks(*FILES.items())
        assert (await transport.send_snapshot(request(), chunks)).success
        assert chunks.sought == at
        assert wire.group.snapshots[0][1] == left


async def test_of_what_machines_fetch_only_the_runtimes_files_are_sent() -> None:
    async with linked() as (wire, transport):
        sent = replace(request(), notice=True)
        assert (await transport.send_snapshot(sent, Chunks(*FILES.items()))).success
        [(got, files)] = wire.group.snapshots
        assert (got, got.meta.files) == (sent, sent.meta.files)
        assert files == {"_sessions": b"xyz"}


async def test_of_what_machines_fetch_there_may_be_nothing_to_send() -> None:
    files = {"state": b"abc"}
    async with linked() as (wire, transport):
        sent = replace(request(files), notice=True)
        assert (await transport.send_snapshot(sent, Chunks(*files.items()))).success
        assert wire.group.snapshots == [(sent, {})]


async def test_a_refused_snapshot_is_not_sent() -> None:
    async with linked() as (wire, transport):
        wire.group.reads_snapshot = False
        wire.group.snapshot_reply = lambda request: SnapshotReply(BIG_TERM + 1, "n1", False)
        chunks = Chunks(*FILES.items())
        reply = await transport.send_snapshot(request(), chunks)
        assert reply == SnapshotReply(BIG_TERM + 1, "n1", False)
        assert chunks.sought is None


async def test_a_server_of_another_make_gets_it_as_its_dialect_does() -> None:
    files = {"state": b"abc", "_sessions": b"x"}
    async with linked(served=False) as (wire, transport):
        meta = replace(request(files).meta, term=3)
        sent = SnapshotRequest(5, "n0", meta)
        chunks = Chunks(*files.items())
        for _ in range(2):
            assert (await transport.send_snapshot(sent, Chunks(*files.items()))).success
        assert chunks.sought is None
        assert [got for _, got in wire.group.snapshots] == [files, files]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OverloadedError("another took its place"), "RESOURCE_EXHAUSTED"),
        (StorageError("disk full"), "UNAVAILABLE"),
        (ValueError("no correct peer"), "INVALID_ARGUMENT"),
    ],
)
async def test_failures_of_the_follower_are_retried_later(error: Exception, status: str) -> None:
    async with linked() as (wire, transport):
        wire.group.failure = error
        with pytest.raises(PeerUnreachableError, match=f"{status}: {error}"):
            await transport.send_snapshot(request(), Chunks(*FILES.items()))


async def test_a_lost_connection_is_unreachable() -> None:
    async with linked() as (wire, transport):
        await wire.listener.cut()
        wire.listener.refuses = True
        with trio.move_on_after(5) as scope, pytest.raises(PeerUnreachableError):
            await transport.send_snapshot(request(), Chunks(*FILES.items()))
        assert not scope.cancelled_caught


def data(content: bytes, checksum: int | None = None) -> pb.SnapshotRequest:
    return pb.SnapshotRequest(
        data=content, checksum=crc32(content) if checksum is None else checksum
    )


@pytest.mark.parametrize(
    ("messages", "status", "problem"),
    [
        ([data(b"abc", 1)], Status.DATA_LOSS, "a chunk of 'state' is damaged"),
        ([data(b"abc")], Status.DATA_LOSS, "ended before its last chunk"),
        ([data(b"abcdefghi")], Status.INVALID_ARGUMENT, "9 bytes does not fit into 'state'"),
        ([data(b"")], Status.INVALID_ARGUMENT, "0 bytes does not fit"),
        ([data(b"abcdefgh"), data(b""), data(b"xyz"), data(b"")], Status.INVALID_ARGUMENT, "more"),
    ],
)
async def test_bad_chunks_end_the_transfer(
    messages: list[pb.SnapshotRequest], status: Status, problem: str
) -> None:
    header = pb.SnapshotRequest(header=encode_header(GROUP, request()))
    async with linked() as (wire, _):
        with pytest.raises(GRPCError, match=problem) as caught:
            await raw(wire, header, *messages)
        assert caught.value.status is status
        assert wire.group.snapshots == []


def header(**fields: Any) -> pb.SnapshotRequest:
    message = encode_header(GROUP, request())
    for name in fields:
        message.ClearField(name)
    message.MergeFrom(pb.SnapshotHeader(**fields))
    return pb.SnapshotRequest(header=message)


@pytest.mark.parametrize(
    ("first", "status", "problem"),
    [
        (pb.SnapshotRequest(data=b"x"), Status.INVALID_ARGUMENT, "begins with its header"),
        (header(group_id=bytes(16)), Status.NOT_FOUND, "no group"),
        (header(index=-1), Status.INVALID_ARGUMENT, "a snapshot at -1"),
        (header(configuration_index=41), Status.INVALID_ARGUMENT, "configuration 41"),
        (header(configuration=b"{"), Status.INVALID_ARGUMENT, "not an encoded"),
        (header(term=bytes(17)), Status.INVALID_ARGUMENT, "a term of 17 bytes"),
        (header(files=[]), Status.INVALID_ARGUMENT, "of 0 files"),
        (
            header(files=[pb.SnapshotFile(name=str(n)) for n in range(1025)]),
            Status.INVALID_ARGUMENT,
            "of 1025 files",
        ),
        (header(files=[pb.SnapshotFile(name="../x")]), Status.INVALID_ARGUMENT, "cannot name"),
        (header(files=[pb.SnapshotFile(name="a")] * 2), Status.INVALID_ARGUMENT, "of one name"),
        (
            header(files=[pb.SnapshotFile(name="a", size=1 << 63)]),
            Status.INVALID_ARGUMENT,
            f"of {1 << 63} bytes",
        ),
    ],
)
async def test_bad_headers_are_refused(
    first: pb.SnapshotRequest, status: Status, problem: str
) -> None:
    async with linked() as (wire, _):
        with pytest.raises(GRPCError, match=problem) as caught:
            await raw(wire, first)
        assert caught.value.status is status
        assert wire.group.snapshots == []


async def raw(wire: Wire, *messages: pb.SnapshotRequest) -> None:
    """Send messages as they are and take what comes until the end."""
    async with SnapshotServiceStub(wire.channel).Install.open() as stream:
        for message in messages:
            await stream.send_message(message)
        await stream.end()
        while await stream.recv_message() is not None:
            pass


@pytest.mark.parametrize("size", [0, 1, 127, 128, 70_000])
def test_a_chunk_is_encoded_as_protobuf_does(size: int) -> None:
    content = bytes(range(256)) * 274
    message = pb.SnapshotRequest.FromString(encode_chunk(content[:size]).SerializeToString())
    assert message == data(content[:size])
