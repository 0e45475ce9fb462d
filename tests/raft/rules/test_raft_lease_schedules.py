"""Schedules that look for a lease which hides a write (thesis §6.4.1)."""

from __future__ import annotations

import random

from raft_cluster import Cluster
from raft_node import Packet

from trioraft.raft.messages import StartElection, VoteRequest
from trioraft.raft.types import Role


class LeaseSchedule:
    """Again and again: one voter loses the leader, later the others do, some of them restart.

    The first is the one that campaigns early; whether the others elect it while the old leader
    still answers reads is what leases are about.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        ids = [f"n{n}" for n in range(1, self.rng.choice([3, 3, 5]) + 1)]
        self.cluster = Cluster.of(
            *ids,
            seed=seed,
            election_timeout_min=0.2,
            election_timeout_max=0.3,
            heartbeat_interval=0.03,
            lease_reads=True,
            pre_vote=self.rng.random() < 0.5,
            marked_transfers=self.rng.random() < 0.5,
        )
        for node in self.cluster.nodes.values():
            node.clock_rate = self.rng.uniform(0.95, 1.05)
        self.marked = self.cluster.config.marked_transfers
        self.cut: dict[tuple[str, str], bool] = {}
        self.held: list[tuple[float, Packet]] = []
        self.served = 0
        self.elections = 0

    def run(self) -> None:
        for _ in range(12):
            self.cut.clear()
            self.go(0.6)
            leader = self.cluster.leader
            if leader is not None:
                self.episode(leader.node_id)

    def episode(self, leader: str) -> None:
        rng = self.rng
        term = self.cluster.core(leader).term
        first = rng.choice([i for i in self.cluster.nodes if i != leader])
        others = [i for i in self.cluster.nodes if i not in (leader, first)]
        if rng.random() < 0.5:
            core = self.cluster.core(leader)
            core.transfer_leadership(first, self.cluster.clock(leader))
            self.cluster.flush(leader)
            self.go(rng.uniform(0.0, 0.4))
        self.part(leader, first)
        self.go(rng.uniform(0.1, 0.3))
        for other in others:
            self.part(leader, other)
            if rng.random() < 0.4:
                self.cluster.crash(other)
                self.cluster.start(self.cluster.nodes[other])
        self.go(0.5)
        self.elections += any(n.up.term > term for n in self.cluster.nodes.values())

    def part(self, one: str, other: str) -> None:
        """Nothing passes; what is under way may still come."""
        self.cut[one, other] = self.cut[other, one] = True

    def go(self, seconds: float) -> None:
        cluster, rng = self.cluster, self.rng
        end = cluster.now + seconds
        while cluster.now < end:
            cluster.now += 0.01
            for node in cluster.nodes.values():
                cluster.tick(node.id)
                while cluster.sync(node.id):
                    pass
            self.work()
            for packet in cluster.packets:
                if not self.cut.get((packet.source, packet.target)):
                    late = rng.choice([0.0, 0.0, 0.01, 0.1])
                    if isinstance(packet.message, VoteRequest) and not self.marked:
                        packet.message.transfer = True  # what Ratis's wire makes of every vote
                    if isinstance(packet.message, StartElection):
                        late = rng.uniform(0.0, 0.7)  # longer than the handover is waited for
                    self.held.append((cluster.now + late, packet))
            cluster.packets = []
            due = [packet for at, packet in self.held if at <= cluster.now]
            self.held = [(at, packet) for at, packet in self.held if at > cluster.now]
            for packet in due:
                cluster.deliver(packet)

    def work(self) -> None:
        """Every leader, deposed or not, answers what its lease allows. What a stale one would
        miss is a new one's first entry; without other writes nobody is behind, and all can win.
        """
        cluster = self.cluster
        for node in cluster.nodes.values():
            core = node.up
            if core.role is not Role.LEADER:
                continue
            token = (node.id, len(cluster.reads))
            cluster.read(node.id, token, lease=True)
            self.served += token in cluster.answers


def test_a_lease_never_hides_a_write() -> None:
    """The cluster checks every answer against what was committed anywhere when it was asked."""
    served = elections = 0
    for seed in range(25):
        schedule = LeaseSchedule(seed)
        try:
            schedule.run()
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
        served += schedule.served
        elections += schedule.elections
    assert served > 1000
    assert elections > 80
