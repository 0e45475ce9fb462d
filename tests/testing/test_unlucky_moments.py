"""Two things at the worst of times, on whole nodes: the seed chooses the moment.

The seeds of `simulate` meet most of these by chance; here each is met in every run.
"""

from __future__ import annotations

import errno

import pytest
import trio
from unlucky_kit import SEEDS, agree, insist, leader_of, others, tell

from trioraft import Role
from trioraft.raft import RaftConfig
from trioraft.testing.cluster import SimCluster
from trioraft.testing.scheduler import SeededRun

LEASES = RaftConfig(
    election_timeout_min=0.2, election_timeout_max=0.4, heartbeat_interval=0.05, lease_reads=True
)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leader_that_stood_still_does_not_believe_its_lease(seed: int) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        old = await leader_of(cluster)
        await old.propose(b"1")
        await trio.sleep(0.5)  # heartbeats have gone round: it holds a lease
        early: list[bytes] = []
        late: list[bytes] = []

        async def ask(answers: list[bytes]) -> None:
            with trio.move_on_after(30):
                answers.append(await old.query(b""))

        rng = run.rng("moment")
        async with trio.open_nursery() as nursery:
            cluster.pause(old.id)
            nursery.start_soon(ask, early)  # waits in the process that stands still
            while (second := await leader_of(cluster)) is old:
                await trio.sleep(0.01)
            await insist(lambda: second.propose(b"2"))
            nursery.start_soon(ask, late)
            await trio.sleep(rng.choice((0.0, 0.1, 1.0)))
            cluster.resume(old.id)
        assert late == [b"3"]
        assert early in ([b"1"], [b"3"])

    tell(story, seed, spares=0, config=LEASES)


@pytest.mark.parametrize("operation", ["write", "datasync"])
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_a_voter_whose_disk_does_not_take_the_vote_gives_none(seed: int, operation: str) -> None:
    async def story(cluster: SimCluster, run: SeededRun) -> None:
        leader = await leader_of(cluster)
        await leader.propose(b"1")
        broken, candidate = others(cluster, leader)
        cluster.fragile.add(broken.id)
        before = broken.term
        cluster.kill(leader.id)
        cluster.disks[broken.id].fail(operation, errno.EIO)
        while broken.failure is None:
            await trio.sleep(0.01)
        assert "I/O error" in str(broken.failure) or "Input/output" in str(broken.failure)
        await trio.sleep(5)
        assert candidate.role is not Role.LEADER, "who has voted for it?"
        cluster.disks[broken.id].heal()
        await cluster.restart(broken.id)
        assert cluster.nodes[broken.id].term >= before
        await insist(lambda: candidate.propose(b"1"))
        await cluster.start(leader.id)
        await agree(cluster, 2)

    tell(story, seed, spares=0)
