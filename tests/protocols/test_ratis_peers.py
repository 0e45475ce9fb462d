"""Ratis's service and transport against each other, and against raw streams."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import trio
from peer_wire import GROUP, Chunks, pieces, received, settle, wired
from trio.testing import MockClock

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft._proto.ratis.grpc_grpc import RaftServerProtocolServiceStub
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols import dialect
from trioraft.protocols.calls import MAX_PENDING, MAX_UNANSWERED, STALL_TIMEOUT
from trioraft.protocols.ratis.entries import NOBODY
from trioraft.protocols.ratis.header import Route
from trioraft.protocols.ratis.snapshot import CHUNK_BYTES
from trioraft.raft.config import RaftConfig, count_terms
from trioraft.raft.errors import (
    ConfigurationError,
    GroupStoppedError,
    LeaderNotReadyError,
    NotLeaderError,
    OverloadedError,
)
from trioraft.raft.types import (
    AppendReply,
    AppendRequest,
    Configuration,
    Entry,
    EntryKind,
    Member,
    Session,
    SnapshotFile,
    SnapshotMeta,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.rpc import Cardinality, Encoded, GRPCError, Handler, ServerStream, Status
from trioraft.rpc.testing import open_test_channel

RATIS = dialect("ratis")
ROUTE = Route.between(GROUP, "n0", "n1")
EXCEPTIONS = "org.apache.ratis.protocol.exceptions."


def entries(first: int, count: int) -> list[Entry]:
    session = Session(b"0123456789abcdef", 7)
    return [Entry(3, first + i, EntryKind.WRITE, b"w%d" % i, session) for i in range(count)]


def append(prev: int, count: int, **fields: Any) -> AppendRequest:
    return AppendRequest(3, "n0", prev, 3, entries(prev + 1, count), prev, **fields)


def heartbeat(prev: int, round_number: int) -> AppendRequest:
    return AppendRequest(3, "n0", prev, 3, (), prev, round=round_number, heartbeat=True)


def server(channel: Any) -> RaftServerProtocolServiceStub:
    return RaftServerProtocolServiceStub(channel)


async def failed(method: Any, message: Any) -> tuple[GRPCError, dict[str, str]]:
    """Call `method`, which must fail: its status and trailers."""
    stream = method.open()

    async def call() -> None:
        async with stream:
            await stream.send_message(message, end=True)
            await stream.recv_message()

    with pytest.raises(GRPCError) as raised:
        await call()
    return raised.value, dict(stream.trailing_metadata or {})


# ---- the dialect


def test_rules() -> None:
    config = RATIS.config(RaftConfig(adopt_term_on_reject=False, pre_vote=False))
    assert config.first_entry is EntryKind.CONFIGURATION
    assert (config.pre_vote, config.adopt_term_on_reject) == (True, True)
    assert config.next_term is count_terms


def test_members_are_checked() -> None:
    RATIS.check_members(Configuration((Member("n1", "a:1"),)))
    with pytest.raises(ConfigurationError, match="--id ''"):
        RATIS.check_members(Configuration((Member("", "a:1"),)))
    with pytest.raises(ConfigurationError, match="priority=-1 of n1"):
        RATIS.check_members(Configuration((Member("n1", "a:1", -1),)))


@pytest.mark.parametrize(
    ("client_id", "call_id"),
    [(b"", 1), (b"abc", 1), (bytes(16), 1), (NOBODY, 1), (b"x" * 16, 2**64)],
)
def test_sessions_that_the_wire_cannot_carry(client_id: bytes, call_id: int) -> None:
    RATIS.check_session(Session(b"x" * 16, 2**64 - 1))
    with pytest.raises(ConfigurationError, match=r"client id|call id"):
        RATIS.check_session(Session(client_id, call_id))


def test_unknown_dialects_are_named() -> None:
    with pytest.raises(ConfigurationError, match="'etcd'; there are: openraft, ratis"):
        dialect("etcd")


# ---- votes and elections


async def test_votes() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.vote = VoteReply(5, "n1", True, last_index=4, last_term=3, shutdown=True)
        request = VoteRequest(5, "n0", 8, 4)
        reply = await wire.transport.request_vote(request)
        assert reply == wire.group.vote
        # A real vote passes leases: Ratis shields leaders by pre-votes alone.
        assert wire.group.votes == [VoteRequest(5, "n0", 8, 4, transfer=True)]
        await wire.transport.request_vote(VoteRequest(5, "n0", -1, 0, pre=True))
        assert wire.group.votes[1] == VoteRequest(5, "n0", -1, 0, pre=True)


async def test_start_election() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        request = StartElection(3, "n0", 9, 3)
        assert await wire.transport.start_election(request)
        assert wire.group.elections == [request]
        wire.group.campaigns = False
        assert not await wire.transport.start_election(request)


# ---- appends


async def test_appends_are_pipelined_and_answered_in_order() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 2, round=1), append(1, 1), append(2, 3, round=2)])
            await settle()
            assert [len(request.entries) for request in wire.group.appends] == [2, 1, 3]
            assert wire.group.appends[0].entries == entries(0, 2)
            for answer in wire.group.held:
                answer()
            replies = await received(stream)
            assert [(r.match_index, r.round) for r in replies] == [(1, 1), (2, 0), (5, 2)]
            assert all(r.success and not r.heartbeat for r in replies)


async def test_heartbeats_claim_nothing_and_may_overtake() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 3)])
            assert [r.match_index for r in await received(stream)] == [2]
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=True) as stream:
            await stream.send([heartbeat(2, 8), heartbeat(2, 9)])
            await settle()
            assert [request.heartbeat for request in wire.group.appends[1:]] == [True, True]
            wire.group.held[1]()
            wire.group.held[0]()
            replies = await received(stream)
            assert [(r.round, r.match_index, r.heartbeat) for r in replies] == [
                (9, -1, True),
                (8, -1, True),
            ]


async def test_an_empty_probe_is_no_heartbeat_before_it_was_acknowledged() -> None:
    async with (
        wired(RATIS, "n0", "n1") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        await stream.send([append(4, 0)])
        [reply] = await received(stream)
        assert (reply.success, reply.match_index) == (True, 4)
        assert not wire.group.appends[0].heartbeat
        await stream.send([append(4, 0)])
        [reply] = await received(stream)
        assert (reply.success, reply.match_index) == (True, 4)
        assert wire.group.appends[1].heartbeat


async def test_conflict_and_higher_term_come_back_as_the_core_knows_them() -> None:
    async with (
        wired(RATIS, "n0", "n1") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        wire.group.answer = wire.group.conflict
        await stream.send([append(9, 1, round=6)])
        [reply] = await received(stream)
        assert reply == AppendReply(
            3, "n1", False, rejected_prev=9, hint_index=2, round=6, commit=-1
        )
        wire.group.answer = lambda request: AppendReply(7, "n1", False, commit=1)
        await stream.send([append(9, 1)])
        [reply] = await received(stream)
        assert (reply.success, reply.term) == (False, 7)


async def test_a_lost_connection_is_an_unreachable_peer() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 1)])
            await settle()
            await wire.listener.cut()
            with pytest.raises(PeerUnreachableError, match=r"n1 at 127\.0\.0\.1:1: UNAVAILABLE"):
                await received(stream)
            with pytest.raises(PeerUnreachableError):
                await stream.send([append(0, 1)])
        wire.group.held[0]()  # an answer that nobody waits for is dropped
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            wire.group.held = None
            await stream.send([append(-1, 1)])
            assert len(await received(stream)) == 1


async def test_a_refused_connection_is_an_unreachable_peer() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.listener.refuses = True
        with pytest.raises(PeerUnreachableError, match="n1 at"):
            await wire.transport.request_vote(VoteRequest(1, "n0", -1, 0))
        with pytest.raises(PeerUnreachableError, match="n1 at"):
            async with wire.transport.open_append_stream(heartbeat=True):
                pytest.fail("the stream opened")


async def test_leaving_the_block_resets_the_stream() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 1)])
            await settle()
        await settle()
        wire.group.held[0]()


async def test_half_closed_stream_ends_when_everything_is_answered() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with server(wire.channel).appendEntries.open() as stream:
            message = pb.AppendEntriesRequestProto(serverRequest=ROUTE.header(1), leaderTerm=3)
            await stream.send_message(message, end=True)
            await settle()
            wire.group.held[0]()
            reply = await stream.recv_message()
            assert reply is not None
            assert (reply.isHearbeat, reply.matchIndex) == (True, -1)
            assert await stream.recv_message() is None


async def test_unanswered_requests_are_bounded_on_both_sides() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=True) as stream:
            for _ in range(MAX_PENDING):
                await stream.send([heartbeat(-1, 1)])
            with pytest.raises(PeerUnreachableError, match=f"{MAX_PENDING} appends"):
                await stream.send([heartbeat(-1, 1)])
            await settle()
            taken = len(wire.group.held)
            assert taken < MAX_PENDING
            # One socket read may bring some more than the bound before it is looked at.
            assert taken >= MAX_UNANSWERED
            for answer in wire.group.held:
                answer()
            await settle()
            assert len(wire.group.held) > taken


async def test_a_group_that_never_answers_loses_its_stream(autojump_clock: MockClock) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            started = trio.current_time()
            await stream.send([append(-1, 1)])
            with pytest.raises(PeerUnreachableError, match="INTERNAL: no answer"):
                await received(stream)
            assert trio.current_time() - started == pytest.approx(STALL_TIMEOUT)


async def test_an_idle_stream_stays_open(autojump_clock: MockClock) -> None:
    async with (
        wired(RATIS, "n0", "n1") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        for prev in range(3):
            await stream.send([append(prev, 1)])
            assert len(await received(stream)) == 1
            await trio.sleep(10 * STALL_TIMEOUT)


# ---- errors in trailers


@pytest.mark.parametrize(
    ("failure", "exception", "text"),
    [
        (GroupStoppedError("it is off"), EXCEPTIONS + "ServerNotReadyException", "it is off"),
        (OverloadedError("full"), EXCEPTIONS + "ResourceUnavailableException", "full"),
        (ValueError("a gap"), "java.lang.IllegalStateException", "a gap"),
        (ConfigurationError("odd"), "java.io.IOException", "odd"),
    ],
)
async def test_failures_name_their_exception(failure: Exception, exception: str, text: str) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.failure = failure
        stub = server(wire.channel)
        message = pb.AppendEntriesRequestProto(serverRequest=ROUTE.header(41), leaderTerm=3)
        error, trailers = await failed(stub.appendEntries, message)
        assert (error.status, error.message) == (Status.INTERNAL, text)
        assert trailers == {"exception-type": exception, "call-id": "41", "heartbeat": "true"}
        vote = pb.RequestVoteRequestProto(serverRequest=ROUTE.header(5))
        error, trailers = await failed(stub.requestVote, vote)
        assert (error.status, error.message) == (Status.INTERNAL, text)
        assert trailers == {"exception-type": exception, "call-id": "5"}


async def test_unknown_group() -> None:
    other = bytes(15) + b"\xab"
    async with wired(RATIS, "n0", "n1", group_id=other) as wire:
        with pytest.raises(PeerUnreachableError, match=r"n1: group-0000000000AB not found\."):
            await wire.transport.request_vote(VoteRequest(1, "n0", -1, 0))
        message = pb.StartLeaderElectionRequestProto(
            serverRequest=Route.between(other, "n0", "n1").header()
        )
        _, trailers = await failed(server(wire.channel).startLeaderElection, message)
        assert trailers == {"exception-type": EXCEPTIONS + "GroupMismatchException"}


async def test_bad_input_ends_the_call_with_a_reason() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        no_group = pb.AppendEntriesRequestProto(leaderTerm=3)
        gap = pb.AppendEntriesRequestProto(
            serverRequest=ROUTE.header(),
            leaderTerm=3,
            entries=[pb.LogEntryProto(term=1, index=4, metadataEntry=pb.MetadataProto())],
        )
        for message, problem in [
            (no_group, "group id of 0 bytes"),
            (gap, "entry 4 where 0 must follow"),
            (Encoded(b"\xff\xff\xff"), "cannot decode AppendEntriesRequestProto"),
        ]:
            error, _ = await failed(server(wire.channel).appendEntries, message)
            assert error.status is Status.INTERNAL
            assert problem in (error.message or "")
        assert wire.group.appends == []


async def test_read_index() -> None:
    leader = Member("n1", "b:2")
    async with wired(RATIS, "n0", "n1") as wire:

        async def ask(group_id: bytes = GROUP) -> int:
            return await RATIS.read_index(
                group_id=group_id, self_id="n0", leader=leader, channel=wire.channel
            )

        assert await ask() == 77
        for failure in (NotLeaderError("n2"), LeaderNotReadyError("soon")):
            wire.group.failure = failure
            with pytest.raises(NotLeaderError, match="n1 gives no read index"):
                await ask()
        with pytest.raises(PeerUnreachableError, match="not found"):
            await ask(bytes(16))


async def test_read_index_as_java_reads_it() -> None:
    request = pb.ReadIndexRequestProto(serverRequest=ROUTE.header())
    async with wired(RATIS, "n0", "n1") as wire:
        reply = await server(wire.channel).readIndex(request)
        assert (reply.serverReply.success, reply.readIndex) == (True, 77)
        wire.group.failure = NotLeaderError("n2")
        reply = await server(wire.channel).readIndex(request)
        assert (reply.serverReply.success, reply.readIndex) == (False, -1)


# ---- snapshots

CONFIGURATION = Configuration((Member("n0", "a:1"), Member("n1", "b:2", 3)))


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
