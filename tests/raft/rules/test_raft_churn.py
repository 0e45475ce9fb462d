"""Members that change all the time, under writes, crashes and partitions.

The general schedules (`trioraft.testing.core_level`) try everything and get few changes through;
here most succeed, and faults come while they are under way.
"""

from __future__ import annotations

import random
from contextlib import suppress

from raft_group import Group, member
from raft_words import show_configuration

from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    LeaderNotReadyError,
    NotLeaderError,
    OverloadedError,
)
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Role

IDS = ("n1", "n2", "n3", "n4", "n5", "n6")


class Churn:
    """One random run: six nodes, of which three begin as the group."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.group = Group(
            *IDS[:3],
            joining=" ".join(IDS[3:]),
            majority_add=True,
            staging_timeout=2.0,
            pre_vote=self.rng.random() < 0.7,
            lease_reads=self.rng.random() < 0.5,
            max_cached_bytes=2000,
        )
        self.cluster = self.group.cluster
        self.cluster.seed = seed
        self.asked = 0

    def run(self, steps: int = 40) -> None:
        for _ in range(steps):
            for node in self.cluster.nodes.values():
                if node.core is not None and node.core.role is Role.LEADER:
                    self.lead(node.id)
            self.disturb()
            self.group.run(self.rng.choice([0.125, 0.25, 0.5, 1.0]))
        self.heal()

    def lead(self, leader: str) -> None:
        """Write, read, and half of the time ask for other members."""
        rng, cluster = self.rng, self.cluster
        with suppress(NotLeaderError, OverloadedError):
            cluster.propose(leader, *(b"%d" % n for n in range(rng.randrange(4))))
        cluster.read(leader, f"r{len(cluster.reads)}", lease=True)
        if rng.random() < 0.5:
            with suppress(
                NotLeaderError, ChangeInProgressError, LeaderNotReadyError, ConfigurationError
            ):
                self.asked += 1
                cluster.change(leader, self.some_change(), f"c{self.asked}")

    def some_change(self) -> MembershipChange:
        rng = self.rng
        one = rng.choice(IDS)
        some = tuple(member(i) for i in rng.sample(IDS, rng.randint(1, 4)))
        return rng.choice(
            [
                MembershipChange.add((member(one),)),
                MembershipChange.add((), (member(one),)),
                MembershipChange.remove(one),
                MembershipChange.promote(one),
                MembershipChange.demote(one),
                MembershipChange.set(some),
                MembershipChange.set(some),
                MembershipChange.set(some[:1], some[1:]),
            ]
        )

    def disturb(self) -> None:
        rng, cluster = self.rng, self.cluster
        victim = cluster.nodes[rng.choice(IDS)]
        what = rng.random()
        if what < 0.15:
            self.group.cut = {victim.id}
        elif what < 0.25 and cluster.leader is not None:
            self.group.cut = {cluster.leader.node_id}
        elif what < 0.5:
            self.group.cut = set()
        elif what < 0.65 and victim.core is not None:
            cluster.crash(victim.id, rng.choice([0, 1]))
        elif what < 0.8 and victim.core is None:
            cluster.start(victim)
        elif what < 0.9 and victim.core is not None:
            base = victim.core.log.base_index
            if victim.applied > base:
                cluster.compact(victim.id, rng.randint(base + 1, victim.applied))

    def heal(self) -> None:
        """Everybody is back: the change under way ends, and all members agree."""
        self.group.cut = set()
        for node in self.cluster.nodes.values():
            if node.core is None:
                self.cluster.start(node)
        for _ in range(200):
            self.group.run(0.25)
            for leader, follower in list(self.cluster.sending):
                self.cluster.end_snapshot(leader, follower, success=False)
            leading = self.cluster.leader
            if (
                leading is not None
                and leading.commit == leading.last_index
                and leading.log.last_term == leading.term
                and leading.change_phase is None
                and not leading.configuration.is_joint
                and self.group.agreed()
            ):
                return
        states = [
            (n.id, n.up.soft, n.up.commit, n.up.last_index, show_configuration(n.up.configuration))
            for n in self.cluster.nodes.values()
        ]
        raise AssertionError(f"the group never agreed again: {states}")


def test_members_come_and_go_and_no_promise_is_broken() -> None:
    done = 0
    for seed in range(60):
        churn = Churn(seed)
        try:
            churn.run()
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        outcomes = churn.cluster.outcomes.values()
        done += sum(isinstance(outcome, Configuration) for outcome in outcomes)
    assert done > 200, "changes do succeed here"
