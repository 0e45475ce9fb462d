"""A group's entries on a link: a few small ones travel there, then it gets a stream of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Never, cast

import pytest
import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.local.link.entries import LinkedEntries
from trioraft.protocols.local.link.transport import _LinkedHeartbeats
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import Entry, EntryKind, Member

GROUP = bytes(range(16))
PEER = Member("n2", "there:1")


def append(index: int, size: int = 10) -> AppendRequest:
    entry = Entry(3, index, EntryKind.WRITE, b"x" * size)
    return AppendRequest(3, "n1", index - 1, 3, [entry], -1, 5)


def answer(number: int, match: int) -> pb.GroupAppendReply:
    return pb.GroupAppendReply(
        group_id=GROUP, number=number, term=b"\3", success=True, match_index=match
    )


class FakeLink:
    def __init__(self) -> None:
        self.posted: list[pb.GroupAppend] = []
        self.number = 0

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def post_entries(self, message: pb.GroupAppend) -> None:
        self.posted.append(message)


class OwnStream:
    """Where a group moves to."""

    def __init__(self) -> None:
        self.sent: list[AppendRequest] = []
        self.flushes = 0
        self.open = False

    @asynccontextmanager
    async def open_append_stream(self, *, heartbeat: bool) -> AsyncIterator[OwnStream]:
        assert not heartbeat
        self.open = True
        yield self
        self.open = False

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        self.sent += requests
        await trio.lowlevel.checkpoint()

    def send_nowait(self, request: AppendRequest) -> bool:
        self.sent.append(request)
        return True

    def flush(self) -> None:
        self.flushes += 1

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        take([AppendReply(3, "n2", True, 99)])
        raise PeerUnreachableError("the own stream has ended")


class Rig:
    def __init__(self) -> None:
        self.link, self.own = FakeLink(), OwnStream()
        self.stream = LinkedEntries(cast(Any, self.link), cast(Any, self.own), GROUP, PEER)
        self.taken: list[int] = []

    async def receive(self) -> None:
        await self.stream.receive(lambda replies: self.taken.extend(r.match_index for r in replies))


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_few_small_appends_travel_on_the_link(rig: Rig, nursery: trio.Nursery) -> None:
    for index in range(8):
        assert rig.stream.send_nowait(append(index))
    assert not rig.stream.send_nowait(append(8)), "enough: it gets a stream of its own"
    assert [(m.number, m.prev_index, len(m.entries)) for m in rig.link.posted] == [
        (number, number - 2, 1) for number in range(1, 9)
    ]
    assert not rig.own.open


async def test_it_moves_behind_what_is_on_the_link(rig: Rig, nursery: trio.Nursery) -> None:
    with pytest.raises(ExceptionGroup, match="Trio nursery"):
        async with trio.open_nursery() as inner:
            inner.start_soon(rig.receive)
            await rig.stream.send([append(0), append(1)])
            inner.start_soon(rig.stream.send, [append(2, size=5000), append(3)])
            await trio.testing.wait_all_tasks_blocked()
            assert not rig.own.open, "two answers are missing"
            rig.stream.answered(answer(1, 0))
            rig.stream.answered(answer(7, 7))  # of an earlier stream
            rig.stream.answered(answer(2, 1))
            await trio.testing.wait_all_tasks_blocked()
    assert [request.prev_index for request in rig.own.sent] == [1, 2]
    assert rig.taken == [0, 1, 99]
    assert rig.stream.send_nowait(append(4))
    rig.stream.flush()
    assert (len(rig.own.sent), rig.own.flushes, len(rig.link.posted)) == (3, 1, 2)
    rig.stream.lost("the link may go now")
    assert rig.stream.send_nowait(append(5))
    await rig.stream.aclose()
    assert not rig.own.open


@pytest.mark.parametrize("how", ["lost", "refused", "nonsense"])
async def test_what_is_lost_with_the_link_is_said(rig: Rig, how: str) -> None:
    assert rig.stream.send_nowait(append(0))
    if how == "lost":
        rig.stream.lost("it is down")
    elif how == "refused":
        rig.stream.answered(pb.GroupAppendReply(group_id=GROUP, number=1, refused=True))
    else:
        rig.stream.answered(answer(1, -9))
    with pytest.raises(PeerUnreachableError, match="n2 at there:1"):
        await rig.receive()
    with pytest.raises(PeerUnreachableError):
        rig.stream.send_nowait(append(1))
    with pytest.raises(PeerUnreachableError):
        await rig.stream.send([append(1, size=5000)])
    assert rig.taken == []


def refuse(replies: Sequence[AppendReply]) -> None:
    raise PeerUnreachableError("no room for answers")


@pytest.mark.parametrize("heartbeat", [False, True])
async def test_a_stream_whose_answers_are_not_taken_is_given_up_not_the_link(
    rig: Rig, heartbeat: bool
) -> None:
    stream: Any = rig.stream
    if heartbeat:
        stream = _LinkedHeartbeats(cast(Any, rig.link), GROUP, PEER)
    else:
        assert stream.send_nowait(append(0))

    async def receive() -> None:
        with pytest.raises(PeerUnreachableError, match="no room for answers"):
            await stream.receive(refuse)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            stream.answered(answer(1, 0))  # by the task that reads the link, for all groups
    with pytest.raises(PeerUnreachableError, match="no room for answers"):
        stream.send_nowait(append(1))
