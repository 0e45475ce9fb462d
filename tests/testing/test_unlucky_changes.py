"""A change of members and something else at the worst of times, on whole nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from unlucky_kit import SEEDS, agree, insist, leader_of, others, tell

from trioraft import ReplicationLevel, TrioraftError
from trioraft.host import Node
from trioraft.node import RuntimeSettings
from trioraft.testing.cluster import SimCluster
from trioraft.testing.scheduler import SeededRun

SNAPSHOTS = RuntimeSettings(
    snapshot_after_entries=20, keep_entries=5, keep_entries_max=5, snapshot_chunk_bytes=100
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_learner_is_promoted_while_its_leader_dies(seed: int) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        await leader.add_member("4", cluster.addresses["4"], learner=True)
        await leader.propose(b"5")
        outcome: list[object] = []

        async def promote() -> None:
            try:
                outcome.append(await leader.promote("4"))
            except TrioraftError as error:
                outcome.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(promote)
            await trio.sleep(run.rng("moment").uniform(0.0, 0.15))
            cluster.kill(leader.id)
            nursery.cancel_scope.deadline = trio.current_time() + 30
        second = await leader_of(cluster)
        await insist(lambda: second.propose(b"6"))
        await insist(lambda: second.promote("4"))  # at the latest now
        await cluster.start(leader.id)
        await agree(cluster, 11)
        assert (await leader_of(cluster)).configuration.is_voter("4")

    tell(story, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_waits_at_a_leader_that_removes_itself_is_answered(seed: int) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        await leader.propose(b"1")
        answers: list[object] = []

        async def ask(call: Callable[[], Awaitable[object]]) -> None:
            try:
                answers.append(await call())
            except TrioraftError as error:
                answers.append(error)

        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: leader.query(b""),
            lambda: leader.propose(b"1"),
            lambda: leader.watch(0, ReplicationLevel.ALL_COMMITTED),
            lambda: leader.query(b"", linearizable=False, min_index=10**6),
            leader.read_index,
        ]
        rng = run.rng("moment")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, partial(leader.remove_member, leader.id))
            for _ in range(10):
                await trio.sleep(rng.uniform(0.0, 0.02))
                for call in calls:
                    nursery.start_soon(ask, call)
            nursery.cancel_scope.deadline = trio.current_time() + 60
        assert not nursery.cancel_scope.cancelled_caught, "somebody still waits"
        assert len(answers) == 51
        with trio.fail_after(5):
            while (second := await leader_of(cluster)) is leader:
                await trio.sleep(0.01)
        assert len(second.configuration.voters) == 2
        # None of the reads that were answered is older than the write before them.
        assert {b"0"}.isdisjoint(a for a in answers if isinstance(a, bytes))

    tell(story, seed)


@pytest.mark.parametrize("level", [ReplicationLevel.ALL, ReplicationLevel.ALL_COMMITTED])
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_watch_ends_when_the_voter_that_held_it_up_is_removed(
    seed: int, level: ReplicationLevel
) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        gone, asked = others(cluster, leader)
        cluster.kill(gone.id)
        index = (await leader.write(b"1")).index
        reached: list[int] = []

        async def watch(node: Node) -> None:
            reached.append(await node.watch(index, level))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, leader)
            nursery.start_soon(watch, asked)
            await trio.sleep(5)
            assert not reached
            await leader.remove_member(gone.id)
            with trio.fail_after(5):
                while len(reached) < 2:
                    await trio.sleep(0.05)
        assert min(reached) >= index

    tell(story, seed)


@pytest.mark.parametrize("what", ["remove", "demote", "move", "handover"])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_members_change_while_a_snapshot_is_sent(seed: int, what: str) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        behind = others(cluster, leader)[0].id
        cluster.kill(behind)
        for _ in range(60):
            await leader.propose(b"1")
        assert leader.status().snapshot_index > 20
        await cluster.start(behind)
        await trio.sleep(run.rng("moment").uniform(0.0, 0.3))
        heir = others(cluster, leader, cluster.nodes[behind])[0].id
        if what == "remove":
            await insist(lambda: leader.remove_member(behind))
            await insist(lambda: leader.add_member(behind, cluster.addresses[behind]))
        elif what == "demote":
            await insist(lambda: leader.demote(behind))
            await insist(lambda: leader.promote(behind))
        elif what == "move":
            await insist(lambda: leader.update_member(behind, "nowhere:1"))
            await insist(lambda: leader.update_member(behind, cluster.addresses[behind]))
        else:
            await insist(lambda: leader.transfer_leadership(heir, forward=True))
        await insist(lambda: cluster.nodes[heir].propose(b"1"))
        await agree(cluster, 61)
        assert len(cluster.members()) == 3

    tell(story, seed, spares=0, settings=SNAPSHOTS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_handover_and_a_change_of_members_begin_together(seed: int) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        heir = others(cluster, leader)[0].id
        await leader.propose(b"1")
        errors: list[TrioraftError] = []

        async def attempt(call: Callable[[], Awaitable[object]]) -> None:
            try:
                await call()
            except TrioraftError as error:
                errors.append(error)

        rng = run.rng("moment")
        async with trio.open_nursery() as nursery:
            first = partial(leader.add_member, "4", cluster.addresses["4"])
            nursery.start_soon(attempt, first)
            await trio.sleep(rng.choice((0.0, rng.uniform(0.0, 0.1))))
            nursery.start_soon(attempt, partial(leader.transfer_leadership, heir))
            nursery.cancel_scope.deadline = trio.current_time() + 60
        assert not nursery.cancel_scope.cancelled_caught, "somebody still waits"
        now = await leader_of(cluster)
        await insist(lambda: now.propose(b"1"))
        await insist(lambda: now.add_member("4", cluster.addresses["4"]))
        await agree(cluster, 2)
        assert len(cluster.members()) == 4

    tell(story, seed)
