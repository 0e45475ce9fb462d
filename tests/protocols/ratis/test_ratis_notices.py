"""Ratis's notification mode on the wire: both ends, and every result by its number."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from fake_group import GROUP
from fetching import Depot
from loopback import loop_cluster
from peer_wire import Wire, pieces, wired
from trio.testing import MockClock

from trioraft._proto.ratis import raft_pb2 as pb
from trioraft._proto.ratis.grpc_grpc import RaftServerProtocolServiceStub
from trioraft.node import RuntimeSettings
from trioraft.node.peers import NoticeOutcome, NoticeReply, PeerUnreachableError, SnapshotNotice
from trioraft.protocols import dialect
from trioraft.protocols.ratis.header import Route
from trioraft.protocols.ratis.notices import decode_notice, encode_notice
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Configuration, Member, SnapshotFile, SnapshotMeta
from trioraft.rpc import GRPCError

RATIS = dialect("ratis")
ROUTE = Route.between(GROUP, "n0", "n1")
CONFIGURATION = Configuration((Member("n0", "a:1"), Member("n1", "b:2", 3)))
META = SnapshotMeta(40, 3, CONFIGURATION, 3, 12, (SnapshotFile("state", 3, 0),))
REQUEST = SnapshotRequest(5, "n0", META, notice=True)
NOTICE = SnapshotNotice(5, "n0", 40, CONFIGURATION, 12)

# A notification by hand, from the schema: header (1), leader's term 5 (2), notification (4) of
# first available entry (3, 41), and the configuration's entry (5): index 12, no term.
NOTICE_BYTES = bytes.fromhex(
    "0a1c0a026e3012026e311a120a1002511d47d67c49a39011abb3109a44c1"
    "1005"
    "22060a0408031029"
    "2a20100c221c0a0b0a026e301203613a313802"
    "0a0d0a026e311203623a3218033802"
)


def raw_notice(**fields: Any) -> pb.InstallSnapshotRequestProto:
    message = encode_notice(ROUTE, REQUEST)
    for name in fields:
        message.ClearField(name)
    message.MergeFrom(pb.InstallSnapshotRequestProto(**fields))
    return message


async def ask(wire: Wire, message: pb.InstallSnapshotRequestProto) -> pb.InstallSnapshotReplyProto:
    """As a Ratis leader does: one message, half-close, one answer, the end."""
    async with RaftServerProtocolServiceStub(wire.channel).installSnapshot.open() as stream:
        await stream.send_message(message, end=True)
        reply = await stream.recv_message()
        assert reply is not None
        assert await stream.recv_message() is None
        return reply


def test_the_bytes_of_a_notification() -> None:
    assert encode_notice(ROUTE, REQUEST) == pb.InstallSnapshotRequestProto.FromString(NOTICE_BYTES)
    assert decode_notice(pb.InstallSnapshotRequestProto.FromString(NOTICE_BYTES)) == NOTICE


@pytest.mark.parametrize(
    ("outcome", "index", "result", "told", "success"),
    [
        (NoticeOutcome.NOT_LEADER, -1, 1, 0, False),
        (NoticeOutcome.IN_PROGRESS, -1, 2, 0, False),
        (NoticeOutcome.ALREADY_THERE, 41, 3, 41, True),
        (NoticeOutcome.ALREADY_THERE, -1, 3, -1, True),
        (NoticeOutcome.MISMATCH, -1, 4, 0, False),
        (NoticeOutcome.INSTALLED, 40, 5, 40, True),
        (NoticeOutcome.UNAVAILABLE, -1, 6, 0, False),
    ],
)
async def test_the_follower_answers_as_ratis_does(
    outcome: NoticeOutcome, index: int, result: int, told: int, success: bool
) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [NoticeReply(outcome, 7, index)]
        reply = await ask(wire, raw_notice())
        assert (reply.result, reply.snapshotIndex, reply.term) == (result, told, 7)
        assert reply.WhichOneof("InstallSnapshotReplyBody") == "snapshotIndex"
        assert reply.serverReply.success is success
        assert wire.group.notices == [NOTICE]


async def test_a_leader_that_has_all_entries_asks_a_new_peer_too() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [NoticeReply(NoticeOutcome.ALREADY_THERE, 5, -1)]
        await ask(wire, raw_notice(notification=first_available(0)))
        assert wire.group.notices[0].index == -1


def first_available(index: int, term: int = 3) -> pb.InstallSnapshotRequestProto.NotificationProto:
    return pb.InstallSnapshotRequestProto.NotificationProto(
        firstAvailableTermIndex=pb.TermIndexProto(term=term, index=index)
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"notification": pb.InstallSnapshotRequestProto.NotificationProto()}, "missing"),
        ({"notification": first_available(7, term=0)}, "missing"),
        ({"notification": first_available(-2)}, "entry index -2"),
        ({"lastRaftConfigurationLogEntryProto": pb.LogEntryProto(index=1)}, "configuration"),
        ({"leaderTerm": 2**63}, "below 2"),
    ],
)
async def test_bad_notifications_are_refused(fields: dict[str, Any], problem: str) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        with pytest.raises(GRPCError, match=problem):
            await ask(wire, raw_notice(**fields))
        assert wire.group.notices == []


async def test_a_leader_asks_until_it_is_installed(autojump_clock: MockClock) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [
            NoticeReply(NoticeOutcome.IN_PROGRESS, 5),
            NoticeReply(NoticeOutcome.IN_PROGRESS, 5),
            NoticeReply(NoticeOutcome.INSTALLED, 5, 43),
        ]
        chunks = pieces(b"abc")
        reply = await wire.transport.send_snapshot(REQUEST, chunks)
        assert reply == SnapshotReply(5, "n1", True, 40), "no more than was offered"
        assert wire.group.notices == [NOTICE] * 3
        assert len(chunks.left) == 1, "nothing of it was sent"
        assert 1.9 < trio.current_time() < 2.5


async def test_a_leader_learns_of_a_newer_term() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [NoticeReply(NoticeOutcome.NOT_LEADER, 9)]
        reply = await wire.transport.send_snapshot(REQUEST, pieces(b"abc"))
        assert reply == SnapshotReply(9, "n1", False)


@pytest.mark.parametrize(
    ("outcome", "index", "problem"),
    [
        (NoticeOutcome.UNAVAILABLE, -1, "SNAPSHOT_UNAVAILABLE"),
        (NoticeOutcome.MISMATCH, -1, "CONF_MISMATCH"),
        (NoticeOutcome.INSTALLED, 39, "it has snapshot 39 for 40"),
    ],
)
async def test_a_peer_that_does_not_fetch_is_told_again_later(
    outcome: NoticeOutcome, index: int, problem: str
) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [NoticeReply(outcome, 5, index)]
        with pytest.raises(PeerUnreachableError, match=problem):
            await wire.transport.send_snapshot(REQUEST, pieces(b"abc"))


async def test_a_peer_that_takes_too_long_is_told_of_the_newest(autojump_clock: MockClock) -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        wire.group.notice_replies = [NoticeReply(NoticeOutcome.IN_PROGRESS, 5)] * 60
        with pytest.raises(PeerUnreachableError, match="still fetching snapshot 40"):
            await wire.transport.send_snapshot(REQUEST, pieces(b"abc"))
        assert wire.group.notice_replies == []


async def test_a_group_fetches_and_tells_its_leader(autojump_clock: MockClock) -> None:
    """Both ends of the wire, and a real group behind the follower's."""
    depot = Depot()
    depot.states[20] = b"\0\0\0\1x"
    depot.gate = trio.Event()
    settings = RuntimeSettings(fetch_snapshots=True)
    async with (
        loop_cluster(
            names=("n1", "n0"), settings=settings, new_machine=depot.machine, connected=False
        ) as cluster,
        wired(RATIS, "n0", "n1") as wire,
        trio.open_nursery() as nursery,
    ):
        cluster.kill("n0")
        wire.router.group = cluster.groups["n1"].inbound  # type: ignore[assignment]
        replies: list[SnapshotReply] = []

        async def send() -> None:
            replies.append(await wire.transport.send_snapshot(REQUEST, pieces(b"abc")))

        nursery.start_soon(send)
        await trio.sleep(2.5)
        assert replies == []
        depot.gate.set()
        await cluster.until(lambda: replies == [SnapshotReply(5, "n1", True, 40)])
        assert cluster.machines["n1"].seen == [b"x"]
        assert cluster.groups["n1"].status().snapshot_index == 40
        assert cluster.groups["n1"].configuration == CONFIGURATION


async def test_a_lost_connection_is_unreachable() -> None:
    async with wired(RATIS, "n0", "n1") as wire:
        await wire.listener.cut()
        wire.listener.refuses = True
        with trio.fail_after(5), pytest.raises(PeerUnreachableError):
            await wire.transport.send_snapshot(REQUEST, pieces(b"abc"))
