"""Snapshots between Ratis peers, whole and damaged, ours and foreign."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fake_group import GROUP
from peer_wire import Chunks, pieces, settle, wired
from ratis_kit import CONFIGURATION, RATIS, ROUTE, server

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.protocols.ratis.snapshot import CHUNK_BYTES
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Member, SnapshotFile, SnapshotMeta
from trioraft.rpc import Cardinality, GRPCError, Handler, ServerStream, Status
from trioraft.rpc.testing import open_test_channel


def snapshot(size: int) -> SnapshotRequest:
    meta = SnapshotMeta(40, 3, CONFIGURATION, size, 12, (SnapshotFile("state", size, 0),))
    return SnapshotRequest(5, "n0", meta)


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (b"tiny",),
        (b"a" * 1000, b"", b"b" * 3, b"c"),
        (bytes(3 * CHUNK_BYTES + 5),),
        tuple(b"%d" % i for i in range(40)),
    ],
)
async def test_snapshots_arrive_whole(chunks: tuple[bytes, ...]) -> None:
    data = b"".join(chunks)
    async with wired(RATIS, "n0", "n1") as wire:
        reply = await wire.transport.send_snapshot(snapshot(len(data)), pieces(*chunks))
        assert reply == SnapshotReply(5, "n1", True, 40)
        assert wire.group.snapshots == [(snapshot(len(data)), {"state": data})]


async def test_a_refused_snapshot_names_the_term() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.reads_snapshot = False
        wire.group.snapshot_reply = lambda request: SnapshotReply(9, "n1", False)
        chunks = pieces(*[bytes(CHUNK_BYTES)] * 20)
        reply = await wire.transport.send_snapshot(snapshot(20 * CHUNK_BYTES), chunks)
        assert reply == SnapshotReply(9, "n1", False)


async def test_a_snapshot_that_is_not_needed_is_read_past() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.reads_snapshot = False
        chunks = pieces(*[bytes(CHUNK_BYTES)] * 20)
        reply = await wire.transport.send_snapshot(snapshot(20 * CHUNK_BYTES), chunks)
        assert reply == SnapshotReply(5, "n1", True, 40)


async def test_a_snapshot_of_another_size_than_announced_is_not_finished() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        with pytest.raises(ValueError, match="without all of its 1 files"):
            await wire.transport.send_snapshot(snapshot(5), pieces(b"abc"))
        await settle()
        assert wire.group.snapshots == []


def chunk(number: int, data: bytes, **fields: Any) -> pb.InstallSnapshotRequestProto:
    piece: dict[str, Any] = {
        "filename": "sm/snapshot.3_40",
        "data": data,
        "offset": fields.pop("offset", 0),
    }
    piece |= {key: fields.pop(key) for key in ("fileDigest", "filename") if key in fields}
    body: dict[str, Any] = {"requestId": "t", "totalSize": 0} | fields
    conf = pb.LogEntryProto(index=-1, configurationEntry=pb.RaftConfigurationProto())
    return pb.InstallSnapshotRequestProto(
        serverRequest=ROUTE.header(),
        leaderTerm=5,
        lastRaftConfigurationLogEntryProto=conf,
        snapshotChunk=pb.InstallSnapshotRequestProto.SnapshotChunkProto(
            requestIndex=number,
            termIndex=pb.TermIndexProto(term=3, index=40),
            fileChunks=[pb.FileChunkProto(**piece)],
            **body,
        ),
    )


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (chunk(2, b"", offset=3), "chunk 2 of transfer 't' where 1"),
        (chunk(1, b"", offset=3, requestId="u"), "chunk 1 of transfer 'u'"),
        (chunk(1, b"", offset=2), "offset 2 where 3"),
        (chunk(1, b"x", filename="sm/other"), "before the end of"),
        (chunk(1, b"", offset=3, done=True, fileDigest=bytes(16)), "MD5"),
        (chunk(1, b"", offset=3, done=True, totalSize=4), "announced as 4"),
        (None, "before its last chunk"),
    ],
)
async def test_damaged_transfers_are_refused(
    second: pb.InstallSnapshotRequestProto | None, problem: str
) -> None:
    async with wired(RATIS, "n0", "n1") as wire:

        async def send() -> None:
            async with server(wire.channel).installSnapshot.open() as stream:
                await stream.send_message(chunk(0, b"abc"))
                reply = await stream.recv_message()
                assert reply is not None
                assert (reply.result, reply.requestIndex) == (pb.SUCCESS, 0)
                assert reply.WhichOneof("InstallSnapshotReplyBody") == "requestIndex"
                if second is None:
                    await stream.end()
                else:
                    await stream.send_message(second)
                await stream.recv_message()

        with pytest.raises(GRPCError, match=problem) as raised:
            await send()
        assert raised.value.status is Status.INTERNAL
        assert wire.group.snapshots == []


async def test_a_foreign_transfer_with_its_digest_is_taken() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        digest = hashlib.md5(b"abcdef").digest()
        async with server(wire.channel).installSnapshot.open() as stream:
            await stream.send_message(chunk(0, b"abc", fileDigest=digest))
            last = chunk(1, b"def", offset=3, fileDigest=digest, done=True, totalSize=6)
            await stream.send_message(last, end=True)
            replies = [reply async for reply in stream]
        assert [(r.result, r.requestIndex) for r in replies] == [(pb.SUCCESS, 0), (pb.SUCCESS, 1)]
        assert all(r.serverReply.success for r in replies)
        [(request, files)] = wire.group.snapshots
        assert files == {"state": b"abcdef"}
        assert (request.meta.index, request.meta.configuration_index) == (40, -1)


async def test_several_files_arrive_by_name() -> None:
    files = {"b": bytes(CHUNK_BYTES) + b"end", "empty": b"", "a.idx": b"second"}
    described = tuple(SnapshotFile(name, len(data), 0) for name, data in files.items())
    meta = SnapshotMeta(40, 3, CONFIGURATION, sum(map(len, files.values())), 12, described)
    async with wired(RATIS, "n0", "n1") as wire:
        reply = await wire.transport.send_snapshot(
            SnapshotRequest(5, "n0", meta), Chunks(*files.items())
        )
        assert reply.success
        assert [arrived for _, arrived in wire.group.snapshots] == [files]


class Installs:
    """A server that keeps the messages of snapshots, and says yes to each."""

    def __init__(self) -> None:
        self.messages: list[pb.InstallSnapshotRequestProto] = []

    def __mapping__(self) -> dict[str, Handler]:
        kinds = pb.InstallSnapshotRequestProto, pb.InstallSnapshotReplyProto
        path = "/ratis.grpc.RaftServerProtocolService/installSnapshot"
        return {path: Handler(self.install, Cardinality.STREAM_STREAM, *kinds)}

    async def install(self, stream: ServerStream[Any, Any]) -> None:
        async for message in stream:
            self.messages.append(message)
            await stream.send_message(pb.InstallSnapshotReplyProto(result=pb.SUCCESS))


async def test_small_files_travel_in_one_message() -> None:
    # A Java follower pauses its state machine at each message, and many cannot be paused twice.
    files = {"state": b"value", "_sessions": bytes(3000), "large": bytes(CHUNK_BYTES + 7)}

    async def sent(*names: str) -> list[list[tuple[str, int, int, bool]]]:
        described = tuple(SnapshotFile(name, len(files[name]), 0) for name in names)
        meta = SnapshotMeta(40, 3, CONFIGURATION, sum(f.size for f in described), 12, described)
        installs = Installs()
        async with open_test_channel([installs]) as channel:
            transport = RATIS.transport(
                group_id=GROUP,
                self_id="n0",
                peer=Member("n1", "b:2"),
                entries=channel,
                heartbeats=channel,
            )
            chunks = Chunks(*((name, files[name]) for name in names))
            assert (await transport.send_snapshot(SnapshotRequest(5, "n0", meta), chunks)).success
        numbers = [message.snapshotChunk.requestIndex for message in installs.messages]
        ends = [message.snapshotChunk.done for message in installs.messages]
        assert numbers == list(range(len(numbers)))
        assert ends == [False] * (len(ends) - 1) + [True]
        return [
            [(c.filename, c.chunkIndex, len(c.data), c.done) for c in message.fileChunks]
            for message in (installed.snapshotChunk for installed in installs.messages)
        ]

    small = [("sm/snapshot.3_40", 0, 5, True), ("sm/_sessions", 0, 3000, True)]
    assert await sent("state", "_sessions") == [small]
    assert await sent("state", "_sessions", "large") == [
        small,
        [("sm/large", 0, CHUNK_BYTES, False)],
        [("sm/large", 1, 7, True)],
    ]


@pytest.mark.parametrize("name", ["sm/../../etc/passwd", "sm/a/b", "/x", "sm/", "sm/.hidden"])
async def test_names_that_are_paths_are_refused(name: str) -> None:
    async with wired(RATIS, "n0", "n1") as wire:

        async def send() -> None:
            async with server(wire.channel).installSnapshot.open() as stream:
                await stream.send_message(chunk(0, b"abc", filename=name, done=True))
                await stream.recv_message()

        with pytest.raises(GRPCError, match="cannot name a file"):
            await send()
        assert wire.group.snapshots == []
