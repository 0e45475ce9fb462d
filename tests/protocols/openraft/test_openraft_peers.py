"""openraft's service and transport against each other: rules, votes, appends, raw streams."""

from __future__ import annotations

import msgpack
import pytest
import trio
from openraft_kit import OK_NONE, OPENRAFT, T3, T5, append, append_bytes, entries, raw, unary
from peer_wire import received, settle, wired
from trio.testing import MockClock

from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.calls import STALL_TIMEOUT
from trioraft.protocols.openraft.payload import unwrap, wrap
from trioraft.protocols.openraft.terms import next_term, pack_term
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import (
    ConfigurationError,
)
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    Member,
    Session,
)
from trioraft.rpc import Cardinality, GRPCError

# ---- the dialect


def test_rules() -> None:
    config = OPENRAFT.config(RaftConfig())
    assert config.first_entry is EntryKind.BLANK
    assert (config.pre_vote, config.adopt_term_on_reject) == (False, False)
    assert config.next_term is next_term
    assert config.max_entry_bytes < 4 << 20
    assert OPENRAFT.config(RaftConfig(max_entry_bytes=100)).max_entry_bytes == 100


def test_members_are_checked() -> None:
    OPENRAFT.check_members(Configuration((Member("0", "a:1"), Member(str(2**64 - 1), "b:1"))))
    with pytest.raises(ConfigurationError, match=r"--id n1: openraft node ids are numbers"):
        OPENRAFT.check_members(Configuration((Member("n1", "a:1"),)))
    with pytest.raises(ConfigurationError, match="priority=2 of 1"):
        OPENRAFT.check_members(Configuration((Member("1", "a:1", 2),)))


def test_sessions_are_checked() -> None:
    OPENRAFT.check_session(Session(b"", 2**64 - 1))
    with pytest.raises(ConfigurationError, match="call id -1"):
        OPENRAFT.check_session(Session(b"", -1))


# ---- votes and transfers


async def test_votes() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.vote = VoteReply(T5, "2", True, last_index=4, last_term=T3)
        request = VoteRequest(T5, "1", 8, T3)
        assert await wire.transport.request_vote(request) == wire.group.vote
        assert wire.group.votes == [request]
        transfer = VoteRequest(T5, "1", -1, 0, transfer=True)
        await wire.transport.request_vote(transfer)
        assert wire.group.votes[1] == transfer


async def test_transfer() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        request = StartElection(T3, "1", 9, T3)
        assert await wire.transport.start_election(request)
        assert wire.group.elections == [request]
        wire.group.campaigns = False
        assert not await wire.transport.start_election(request)
        with pytest.raises(GRPCError, match="transfer_leader rejected"):
            await unary(
                wire, "TransferLeader", wrap(msgpack.packb([[[3, 1], True], 2, [[3, 1], 9]]))
            )
        # Another node's transfer is none of ours, and fine.
        body = await unary(
            wire, "TransferLeader", wrap(msgpack.packb([[[3, 1], True], 7, [[3, 1], 9]]))
        )
        assert body == b""
        assert len(wire.group.elections) == 3


# ---- appends


async def test_appends_are_pipelined_and_answered_in_order() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 2, round=1), append(1, 1), append(2, 3, round=2)])
            await settle()
            assert [len(request.entries) for request in wire.group.appends] == [2, 1, 3]
            assert wire.group.appends[0].entries == entries(0, 2)
            # Whatever order the group answers in, the wire keeps the requests'.
            for answer in reversed(wire.group.held):
                answer()
            replies = await received(stream)
            assert [(r.match_index, r.round) for r in replies] == [(1, 1), (2, 0), (5, 2)]
            assert all(r.success and not r.heartbeat for r in replies)


async def test_commit_index_is_sent_once_its_term_is_known() -> None:
    async with (
        wired(OPENRAFT, "1", "2") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        old = AppendRequest(T3, "1", 9, T3, entries(10, 2), 4)
        await stream.send([old, append(11, 0)])
        await settle()
        assert [request.commit for request in wire.group.appends] == [-1, 11]


async def test_heartbeats_claim_nothing() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 3)])
            assert [r.match_index for r in await received(stream)] == [2]
        async with wire.transport.open_append_stream(heartbeat=True) as stream:
            beats = [append(2, 0, round=number, heartbeat=True) for number in (8, 9)]
            await stream.send(beats)
            replies = await received(stream)
            assert [(r.round, r.match_index, r.heartbeat) for r in replies] == [
                (8, -1, True),
                (9, -1, True),
            ]
            assert [request.heartbeat for request in wire.group.appends[1:]] == [True, True]


async def test_an_empty_append_is_no_heartbeat_before_it_was_acknowledged() -> None:
    async with (
        wired(OPENRAFT, "1", "2") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        for known in (False, True):
            await stream.send([append(4, 0)])
            [reply] = await received(stream)
            assert (reply.success, reply.match_index) == (True, 4)
            assert wire.group.appends[-1].heartbeat is known


async def test_a_refusal_ends_the_call_and_the_next_send_begins_another() -> None:
    async with (
        wired(OPENRAFT, "1", "2") as wire,
        wire.transport.open_append_stream(heartbeat=False) as stream,
    ):
        wire.group.answer = wire.group.conflict
        await stream.send([append(9, 1, round=6), append(10, 1), append(11, 1)])
        replies = await received(stream)
        assert replies == [
            AppendReply(T3, "2", False, rejected_prev=prev, hint_index=prev - 1, round=6)
            for prev in (9, 10, 11)
        ]
        await settle()
        assert len(wire.group.appends) == 1  # what is behind a refusal is not looked at
        wire.group.answer = wire.group.success
        async with trio.open_nursery() as nursery:
            replies = list[AppendReply]()

            async def receive() -> None:
                replies.extend(await received(stream))

            nursery.start_soon(receive)
            await settle()
            assert replies == []
            await stream.send([append(4, 6)])
        assert [(r.success, r.match_index) for r in replies] == [(True, 10)]


async def test_a_higher_vote_names_its_term() -> None:
    async with (
        wired(OPENRAFT, "1", "2") as wire,
        wire.transport.open_append_stream(heartbeat=True) as stream,
    ):
        wire.group.answer = lambda request: AppendReply(pack_term(7, 3), "2", False)
        await stream.send([append(9, 0, heartbeat=True)])
        [reply] = await received(stream)
        assert (reply.success, reply.term, reply.heartbeat) == (False, pack_term(7, 3), True)


async def test_a_lost_connection_is_an_unreachable_peer() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            await stream.send([append(-1, 1)])
            await settle()
            await wire.listener.cut()
            with pytest.raises(PeerUnreachableError, match=r"2 at 127\.0\.0\.1:1: UNAVAILABLE"):
                await received(stream)
            with pytest.raises(PeerUnreachableError):
                await stream.send([append(0, 1)])
        wire.group.held[0]()  # an answer that nobody waits for is dropped
        wire.listener.refuses = True
        with pytest.raises(PeerUnreachableError, match="2 at"):
            await wire.transport.request_vote(VoteRequest(T5, "1", -1, 0))


async def test_a_group_that_never_answers_loses_its_stream(autojump_clock: MockClock) -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.held = []
        async with wire.transport.open_append_stream(heartbeat=False) as stream:
            started = trio.current_time()
            await stream.send([append(-1, 1)])
            with pytest.raises(PeerUnreachableError, match="UNAVAILABLE: no answer"):
                await received(stream)
            assert trio.current_time() - started == pytest.approx(STALL_TIMEOUT)


async def test_one_heartbeat_per_stream_as_openraft_sends_them() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        for _ in range(3):
            async with raw(wire, "StreamAppend", Cardinality.STREAM_STREAM) as stream:
                await stream.send_message(append_bytes(None))
                answer = await stream.recv_message()
                assert answer is not None
                assert unwrap(answer) == OK_NONE
                await stream.cancel()
        assert len(wire.group.appends) == 3


async def test_headers_are_sent_before_the_first_request() -> None:
    async with (
        wired(OPENRAFT, "1", "2") as wire,
        raw(wire, "StreamAppend", Cardinality.STREAM_STREAM) as stream,
    ):
        await stream.send_request()
        await stream.recv_initial_metadata()
        await stream.end()
        assert await stream.recv_message() is None


async def test_half_closed_stream_ends_when_everything_is_answered() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.held = []
        async with raw(wire, "StreamAppend", Cardinality.STREAM_STREAM) as stream:
            await stream.send_message(append_bytes(None), end=True)
            await settle()
            wire.group.held[0]()
            assert await stream.recv_message() is not None
            assert await stream.recv_message() is None


async def test_unary_appends() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        blank = [[[3, 1], 0], "Blank"]
        body = await unary(wire, "AppendEntries", append_bytes(None, blank))
        assert msgpack.unpackb(unwrap(body)) == "Success"
        assert wire.group.appends[0].entries == [Entry(T3, 0, EntryKind.BLANK, b"")]
        wire.group.answer = wire.group.conflict
        body = await unary(wire, "AppendEntries", append_bytes([[3, 1], 7]))
        assert msgpack.unpackb(unwrap(body)) == "Conflict"
