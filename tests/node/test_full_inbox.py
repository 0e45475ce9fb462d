"""A leader, or candidate, whose inbox has no room for what comes back from its peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Never

import pytest
import trio
from loopback import LoopCluster, LoopStream, LoopTransport, loop_cluster

from trioraft.node import PeerUnreachableError, RuntimeSettings
from trioraft.raft.messages import AppendReply
from trioraft.raft.types import Role

TIGHT = RuntimeSettings(max_inbox=4)


@pytest.fixture
def chatty(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has one follower, once, give its next answer so many times in one go."""
    left: list[int] = []

    async def receive(self: LoopStream, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        while True:
            reply = await self._receive.receive()
            take([reply] * (left.pop() if left else 1))

    monkeypatch.setattr(LoopStream, "receive", receive)
    return left.append


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who has been sent streams of entries, in order."""
    found: list[str] = []
    open_append_stream = LoopTransport.open_append_stream

    def noted(self: LoopTransport, *, heartbeat: bool) -> Any:
        if not heartbeat:
            found.append(self._peer)
        return open_append_stream(self, heartbeat=heartbeat)

    monkeypatch.setattr(LoopTransport, "open_append_stream", noted)
    return found


async def test_too_many_answers_end_their_stream_and_nothing_else(
    autojump_clock: trio.testing.MockClock, chatty: Callable[[int], None], opened: list[str]
) -> None:
    async with loop_cluster(settings=TIGHT) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        before = len(opened)
        chatty(TIGHT.max_inbox + 1)
        await leader.propose(b"b")
        await trio.sleep(5)
        assert len(opened) == before + 1, "one stream was given up and opened again"
        assert leader.role is Role.LEADER
        await leader.propose(b"c")
        await agreed(cluster, [b"a", b"b", b"c"])


async def test_as_many_as_there_is_room_for_are_taken(
    autojump_clock: trio.testing.MockClock, chatty: Callable[[int], None], opened: list[str]
) -> None:
    async with loop_cluster(settings=TIGHT) as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        before = len(opened)
        chatty(TIGHT.max_inbox)
        await leader.propose(b"b")
        await trio.sleep(5)
        assert len(opened) == before
        await agreed(cluster, [b"a", b"b"])


async def test_votes_that_find_no_room_do_not_harm_the_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # Four voters answer each ballot at the same moment; two of them are a majority.
    names = ("n1", "n2", "n3", "n4", "n5")
    async with loop_cluster(names=names, settings=RuntimeSettings(max_inbox=2)) as cluster:
        with trio.fail_after(30):
            leader = await cluster.leader()
        await leader.propose(b"a")
        await agreed(cluster, [b"a"])


async def test_answers_that_come_when_the_group_has_stopped_end_their_stream_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    # On a link between hosts the task that reads them serves other groups, too.
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        cluster.kill(leader.node_id)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(PeerUnreachableError, match="1 answers cannot be taken"):
            leader._outbound.append_replies([AppendReply(leader.term, "n2", True, 1)])


async def agreed(cluster: LoopCluster, seen: list[bytes]) -> None:
    with trio.fail_after(10):
        while any(machine.seen != seen for machine in cluster.machines.values()):
            await trio.sleep(0.01)
