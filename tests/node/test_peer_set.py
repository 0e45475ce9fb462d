"""The peers of a group follow its configuration, and so do a leader's replicators."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioraft.node import PeerUnreachableError
from trioraft.node.leadership import Leadership
from trioraft.node.peer_set import PeerSet
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Member

A, B, C = Member("a", "a:1"), Member("b", "b:1"), Member("c", "c:1")
MOVED = Member("b", "b:2")


class Connector:
    def __init__(self) -> None:
        self.log: list[str] = []

    def connect(self, peer: Member) -> str:
        self.log.append(f"+{peer.address}")
        return f"to {peer.address}"

    def disconnect(self, peer: Member) -> None:
        self.log.append(f"-{peer.address}")


def test_peers_come_go_and_move() -> None:
    connector = Connector()
    peers = PeerSet("a", connector)  # type: ignore[arg-type]
    peers.follow([A, B])
    peers.follow([A, B])
    assert connector.log == ["+b:1"]
    peers.follow([A, B, C])
    peers.follow([A, MOVED, C])
    assert connector.log == ["+b:1", "+c:1", "-b:1", "+b:2"]
    assert str(peers.transport("b")) == "to b:2"
    assert sorted(member.id for member in peers.members()) == ["b", "c"]
    peers.follow([A, C])
    with pytest.raises(PeerUnreachableError, match="b is not a peer"):
        peers.transport("b")
    peers.close()
    peers.close()
    assert connector.log[4:] == ["-b:2", "-c:1"]


def test_a_priority_is_no_reason_to_connect_anew() -> None:
    connector = Connector()
    peers = PeerSet("a", connector)  # type: ignore[arg-type]
    peers.follow([B])
    peers.follow([Member("b", "b:1", priority=3)])
    assert connector.log == ["+b:1"]


class Replicator:
    """Says when it runs and when it ends."""

    def __init__(self, member: Member, log: list[str]) -> None:
        self._name = member.address
        self._log = log

    def post(self, request: AppendRequest) -> None:
        self._log.append(f"post {self._name}")

    def post_snapshot(self) -> None:
        self._log.append(f"snapshot {self._name}")

    async def run(self) -> None:
        self._log.append(f"run {self._name}")
        try:
            await trio.sleep_forever()
        finally:
            self._log.append(f"end {self._name}")


async def test_replicators_follow_while_it_leads() -> None:
    log: list[str] = []
    request = AppendRequest(1, "a", -1, 0, (), -1)
    leadership = Leadership(1, lambda member, term: Replicator(member, log))  # type: ignore[arg-type, return-value]
    assert leadership.follow([B]) == []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leadership.run)
        await trio.testing.wait_all_tasks_blocked()
        assert leadership.follow([B, C]) == []
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["run b:1", "run c:1"]
        assert leadership.follow([MOVED, C]) == ["b"]  # what was on its way to b is lost
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(log[2:]) == ["end b:1", "run b:2"]
        leadership.follow([C])
        leadership.post("b", request)  # it has just left: nowhere to go
        leadership.post_snapshot("b")
        leadership.post("c", request)
        await trio.testing.wait_all_tasks_blocked()
        assert log[4:] == ["post c:1", "end b:2"]
        leadership.step_down()
    assert log[-1] == "end c:1"


async def test_a_leader_without_followers_waits_for_some() -> None:
    log: list[str] = []
    leadership = Leadership(1, lambda member, term: Replicator(member, log))  # type: ignore[arg-type, return-value]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leadership.run)
        await trio.testing.wait_all_tasks_blocked()
        leadership.follow([B])
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["run b:1"]
        leadership.step_down()
