"""Ratis's service and transport against each other: rules, votes, appends."""

from __future__ import annotations

import pytest
import trio
from peer_wire import received, settle, wired
from ratis_kit import RATIS, ROUTE, append, entries, heartbeat, server
from trio.testing import MockClock

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols import dialect
from trioraft.protocols.calls import MAX_PENDING, MAX_UNANSWERED, STALL_TIMEOUT
from trioraft.protocols.ratis.entries import NOBODY
from trioraft.raft.config import RaftConfig, count_terms
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.messages import AppendReply, StartElection, VoteReply, VoteRequest
from trioraft.raft.types import Configuration, EntryKind, Member, Session


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
