"""Handing leadership over, as callers of a group see it."""

from __future__ import annotations

import pytest
import trio
from loopback import LoopCluster, LoopTransport, loop_cluster

from trioraft.node import Group
from trioraft.raft.errors import NoQuorumError
from trioraft.raft.messages import StartElection
from trioraft.raft.types import Role


def others(cluster: LoopCluster, leader: Group) -> list[str]:
    return [name for name in cluster.groups if name != leader.node_id]


async def test_a_target_that_refuses_is_believed(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        await leader.propose(b"a")
        heir = others(cluster, leader)[0]
        await cluster.groups[heir].admin.pause_elections()
        began = trio.current_time()
        with pytest.raises(NoQuorumError, match=f"{heir} refuses to take over"):
            await leader.transfer_leadership(heir)
        await leader.propose(b"b")
        assert trio.current_time() - began < 0.2, "the deadline is a second away"
        assert leader.role is Role.LEADER


def let_another_win(cluster: LoopCluster, winner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked to take over, `winner` campaigns: its election timer was first."""

    async def start_election(_: LoopTransport, request: StartElection) -> bool:
        return await cluster.groups[winner].inbound.handle_start_election(request)

    monkeypatch.setattr(LoopTransport, "start_election", start_election)


async def test_it_says_that_another_has_won(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        heir, winner = others(cluster, leader)
        let_another_win(cluster, winner, monkeypatch)
        with pytest.raises(NoQuorumError, match=f"{winner} has won .* not {heir}"):
            await leader.transfer_leadership(heir)
        assert (await cluster.leader()).node_id == winner


async def test_without_a_target_whoever_leads_is_right(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        for winner in others(cluster, leader):
            let_another_win(cluster, winner, monkeypatch)
            leader = await cluster.leader()
            assert await leader.transfer_leadership() == winner
            assert leader.leader_id == winner


async def test_nobody_leads_after_it(autojump_clock: trio.testing.MockClock) -> None:
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        heir = others(cluster, leader)[0]
        cluster.isolate(leader.node_id)

        async def lose() -> None:
            await trio.sleep(0.1)
            await leader.admin.step_down()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            with pytest.raises(NoQuorumError, match="no new leader for 2 s"):
                await leader.transfer_leadership(heir)


async def test_it_may_come_back_to_who_gave_it_away(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heir has begun a term and won nothing; the old leader wins the next one."""
    async with loop_cluster() as cluster:
        leader = await cluster.leader()
        heir, other = others(cluster, leader)
        for name in (heir, other):
            await cluster.groups[name].admin.pause_elections()

        async def start_election(_: LoopTransport, request: StartElection) -> bool:
            await leader.admin.step_down()
            return True

        monkeypatch.setattr(LoopTransport, "start_election", start_election)
        with pytest.raises(NoQuorumError, match=f"{leader.node_id} has won .* not {heir}"):
            await leader.transfer_leadership(heir)
