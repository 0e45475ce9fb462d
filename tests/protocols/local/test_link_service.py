"""The serving end of a link: what it does with a caller who asks and does not read."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import UnknownGroupError
from trioraft.protocols.local.link import LinkService
from trioraft.protocols.local.link.service import _MAX_ANSWERS
from trioraft.rpc import GRPCError, Status

BATCH = 1000


class NoGroups:
    """A host that refuses everything, at once."""

    def find(self, group_id: bytes) -> Any:
        raise UnknownGroupError("no such group")

    def only(self) -> Any:
        raise UnknownGroupError("no groups")

    def rest_under(self, *_: object) -> None:
        raise AssertionError("nobody asks to rest")

    def link_lost(self, leader: str) -> None:
        """No group rests here."""


class Caller:
    """Asks without end. `reading` while it takes its answers."""

    def __init__(self, *, reading: bool) -> None:
        self.reading = reading
        self.asked = 0
        self.answered = 0

    async def recv_message(self) -> pb.LinkRequest:
        await trio.lowlevel.checkpoint()
        self.asked += BATCH
        vote = pb.GroupVote(group_id=b"g")
        append = pb.GroupAppend(group_id=b"g")
        half = BATCH // 2
        return pb.LinkRequest(node_id="n2", appends=[append] * half, votes=[vote] * half)

    async def send_message(self, reply: pb.LinkReply) -> None:
        await trio.lowlevel.checkpoint()
        if not self.reading:
            await trio.sleep_forever()
        self.answered += len(reply.appends) + len(reply.votes)


async def test_who_reads_no_answers_is_not_listened_to(
    autojump_clock: trio.testing.MockClock,
) -> None:
    caller, groups = Caller(reading=False), NoGroups()
    call: Any = caller
    with trio.fail_after(10), pytest.raises(GRPCError, match="not read") as caught:
        await LinkService(groups, groups, timeout=2.0).Link(call)
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert trio.current_time() == pytest.approx(2.0)
    assert caller.asked <= _MAX_ANSWERS + 3 * BATCH


async def test_who_reads_them_may_ask_for_ever() -> None:
    caller, groups = Caller(reading=True), NoGroups()
    call: Any = caller
    async with trio.open_nursery() as nursery:
        nursery.start_soon(LinkService(groups, groups, timeout=60.0).Link, call)
        with trio.fail_after(60):
            while caller.answered <= 3 * _MAX_ANSWERS:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
