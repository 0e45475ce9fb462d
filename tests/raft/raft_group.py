"""A whole group whose network and disks work as they should, on a clock that tests drive."""

from __future__ import annotations

from collections.abc import Callable

from raft_cluster import Cluster
from raft_node import Packet

from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Member, NodeId


def member(node_id: NodeId, priority: int = 0) -> Member:
    return Member(node_id, f"{node_id}:1", priority)


def members(*ids: NodeId) -> tuple[Member, ...]:
    return tuple(member(i) for i in ids)


def ids(configuration: Configuration) -> tuple[list[str], list[str]]:
    return [m.id for m in configuration.voters], [m.id for m in configuration.learners]


class Group:
    """A cluster whose disks and network work, but for who is `cut` and what is to `lose`."""

    def __init__(self, *voters: NodeId, joining: str = "", **settings: object) -> None:
        settings.setdefault("election_timeout_min", 1.0)
        settings.setdefault("election_timeout_max", 2.0)
        settings.setdefault("heartbeat_interval", 0.25)
        self.cluster = Cluster.of(*voters, **settings)
        self.cut: set[NodeId] = set()
        self.lose: Callable[[Packet], bool] = lambda packet: False
        for node_id in joining.split():
            self.cluster.join(node_id)

    def settle(self) -> None:
        cluster = self.cluster
        busy = True
        while busy:
            for node in cluster.nodes.values():
                while node.core is not None and cluster.sync(node.id):
                    pass
            packets, cluster.packets = cluster.packets, []
            busy = bool(packets)
            for packet in packets:
                if not (self.cut & {packet.source, packet.target} or self.lose(packet)):
                    cluster.deliver(packet)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.125)):
            self.cluster.now += 0.125
            for node in self.cluster.nodes.values():
                if node.core is not None:
                    self.cluster.tick(node.id)
            self.settle()

    def elect(self, node_id: NodeId) -> None:
        self.cluster.now = max(self.cluster.now, self.cluster.core(node_id).next_deadline)
        self.cluster.tick(node_id)
        self.settle()
        assert self.leader == node_id

    @property
    def leader(self) -> NodeId | None:
        leader = self.cluster.leader
        return None if leader is None else leader.node_id

    def change(self, change: MembershipChange) -> Configuration:
        """Ask the leader, and run until there is an outcome; raises if it is an error."""
        assert self.leader is not None
        self.cluster.outcomes.clear()
        self.cluster.change(self.leader, change)
        self.run(5)
        outcome = self.cluster.outcomes["change"]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def agreed(self) -> bool:
        """Every member has the same, committed configuration."""
        leader = self.cluster.leader
        assert leader is not None
        return all(
            self.cluster.core(m.id).configuration == leader.configuration
            and self.cluster.core(m.id).commit == leader.commit
            for m in leader.configuration.members()
        )
