"""Cores on a simulated disk and network, one action at a time, with Raft's promises checked.

A node's disk holds only what was synced; a crash loses the rest. The network is a list of
messages that tests deliver, drop, duplicate and reorder. Every output of every core is checked
against the properties of figure 3 of the Raft paper as it appears.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from raft_facts import Facts
from raft_node import Node, Packet
from raft_words import show_outcome, show_term

from trioraft.raft import RaftConfig, RaftCore, Ready
from trioraft.raft.errors import TrioraftError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.messages import (
    AppendReply,
    SnapshotReply,
    SnapshotRequest,
    VoteReply,
)
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    Member,
    NodeId,
    Proposal,
    Role,
    SnapshotMeta,
)


class Cluster:
    """A group of cores under the hand of a test. `log` is told what happens, in words."""

    def __init__(
        self,
        configuration: Configuration,
        config: RaftConfig,
        seed: int,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.seed = seed
        self.say = log or (lambda _line: None)
        self.now = 0.0
        self.packets: list[Packet] = []
        self.facts = Facts()
        self.nodes = {m.id: Node(m.id, configuration) for m in configuration.members()}
        self.outcomes: dict[object, Configuration | TrioraftError] = {}  # of changes of members
        self.reads: dict[object, int] = {}  # token -> what was committed when it was asked
        self.answers: dict[object, int | None] = {}
        self.sending: dict[tuple[NodeId, NodeId], SnapshotMeta] = {}
        self.told_commit: dict[NodeId, int] = {}
        for node in self.nodes.values():
            self.start(node)

    @classmethod
    def of(cls, *ids: NodeId, seed: int = 0, **settings: Any) -> Cluster:
        members = tuple(Member(i, f"{i}:1") for i in ids)
        return cls(
            Configuration(members), RaftConfig(**{"commit_notice_delay": 0.0, **settings}), seed
        )

    def core(self, node_id: NodeId) -> RaftCore:
        return self.nodes[node_id].up

    @property
    def leader(self) -> RaftCore | None:
        """The leader of the highest term."""
        leaders = [n.core for n in self.nodes.values() if n.core and n.core.role is Role.LEADER]
        return max(leaders, key=lambda core: core.term, default=None)

    # --- life and death

    def start(self, node: Node) -> None:
        snapshot = node.disk.snapshot
        log = node.disk.recover(self.config.max_cached_bytes)
        # Each node draws timeouts of its own, and others after every restart.
        rng = random.Random(f"{self.seed} {node.id} {self.now}")
        node.core = RaftCore(
            node_id=node.id,
            config=self.config,
            configuration=node.configuration if snapshot is None else snapshot.configuration,
            log=log,
            hard_state=node.disk.hard_state,
            rng=rng,
            now=self.clock(node.id),
            commit=NO_INDEX if snapshot is None else snapshot.index,
            configuration_index=NO_INDEX if snapshot is None else snapshot.configuration_index,
        )
        node.applied = self.told_commit[node.id] = node.core.commit
        node.peers = [m.id for m in node.core.peers]

    def clock(self, node_id: NodeId) -> float:
        """What the time is for this node: clocks may differ in origin and rate."""
        return self.now * self.nodes[node_id].clock_rate

    def crash(self, node_id: NodeId, survive: int = 0) -> None:
        """Lose what is not synced, except for the first `survive` writes."""
        node = self.nodes[node_id]
        for ready in list(node.disk.queue)[:survive]:
            node.disk.write(ready)
        node.disk.queue.clear()
        node.core = None
        self.sending = {pair: m for pair, m in self.sending.items() if pair[0] != node_id}

    def join(self, node_id: NodeId) -> None:
        """Start a new node, that waits to be added."""
        self.nodes[node_id] = Node(node_id, Configuration(()))
        self.start(self.nodes[node_id])

    # --- inputs

    def tick(self, node_id: NodeId) -> None:
        self.core(node_id).tick(self.clock(node_id))
        self.flush(node_id)

    def propose(self, node_id: NodeId, *data: bytes) -> range:
        indices = self.core(node_id).propose([Proposal(d) for d in data], self.clock(node_id))
        self.flush(node_id)
        return indices

    def change(self, node_id: NodeId, change: MembershipChange, token: object = "change") -> None:
        self.core(node_id).change_membership(change, token, self.clock(node_id))
        self.flush(node_id)

    def read(self, node_id: NodeId, *tokens: object, lease: bool = False) -> None:
        for token in tokens:
            self.core(node_id).read_index(token, self.clock(node_id), lease=lease)
            self.reads[token] = self.facts.newest
        self.flush(node_id)

    def deliver(self, packet: Packet) -> None:
        """Hand a packet in; the caller has taken it off the network."""
        if packet.target not in self.nodes:
            return  # an address at which nobody is
        node = self.nodes[packet.target]
        core, message = node.core, packet.message
        if core is None:
            return
        if isinstance(message, SnapshotRequest):
            if core.snapshot_received(message, packet.source, self.clock(packet.target)):
                if node.disk.snapshot is None or message.meta.index > node.disk.snapshot.index:
                    node.disk.snapshot = message.meta
                core.snapshot_installed(message.meta, packet.source, self.clock(packet.target))
        elif isinstance(message, SnapshotReply):
            self.end_snapshot(packet.target, packet.source, message.success)
        elif isinstance(message, bool):
            if not message:
                core.handover_refused(packet.source, core.term, self.clock(packet.target))
        else:
            is_reply = isinstance(message, VoteReply | AppendReply)
            core.step(message, None if is_reply else packet.source, self.clock(packet.target))
        self.flush(packet.target)

    def end_snapshot(self, leader: NodeId, follower: NodeId, success: bool) -> None:
        meta = self.sending.pop((leader, follower), None)
        core = self.nodes[leader].core
        if meta is not None and core is not None:
            core.snapshot_finished(follower, meta if success else None, self.clock(leader))
            self.flush(leader)

    def sync(self, node_id: NodeId) -> bool:
        """The oldest queued write of a node becomes durable."""
        node = self.nodes[node_id]
        if not node.disk.queue:
            return False
        ready = node.disk.queue.popleft()
        node.disk.write(ready)
        for target, request in ready.synced_messages:
            self.send(node_id, target, request)
        for token, reply in ready.synced_replies:
            self.send(node_id, str(token), reply)
        last = ready.entries[-1] if ready.entries else None
        index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
        node.up.persisted(index, term, ready.sequence)
        self.flush(node_id)
        return True

    def compact(self, node_id: NodeId, keep_after: int) -> None:
        """Take a snapshot of what is applied and drop the log up to `keep_after`."""
        node = self.nodes[node_id]
        core = node.up
        term = core.log.term_at(node.applied)
        index, configuration = core.configuration_at(node.applied)
        meta = SnapshotMeta(node.applied, term, configuration, configuration_index=index)
        node.disk.snapshot = meta
        core.compact(meta, keep_after)
        if node.disk.base[0] < keep_after <= node.disk.last_index and not node.disk.queue:
            known = node.disk.term_at(keep_after)
            assert known is not None
            del node.disk.entries[: keep_after - node.disk.base[0]]
            node.disk.base = (keep_after, known)

    # --- outputs

    def flush(self, node_id: NodeId) -> None:
        """Carry out every Ready of a node, up to the disk."""
        node = self.nodes[node_id]
        core = node.up
        while core.has_ready():
            ready = core.ready()
            assert ready.commit >= node.applied, "the commit index fell"
            if ready.soft is not None and ready.soft.role is Role.LEADER:
                self.facts.leads(core)
            self.facts.writes(core, ready.entries)
            self.facts.commits(core, node.applied)
            node.applied = ready.commit
            self._narrate(node_id, ready)
            if ready.peers is not None:
                node.peers = [m.id for m in ready.peers]
            for target, _ in [*ready.messages, *ready.synced_messages]:
                assert target in node.peers, f"{node_id} was not told to reach {target}"
            for target, message in ready.messages:
                self.send(node_id, target, message)
            for token, reply in ready.replies:
                self.send(node_id, str(token), reply)
            node.disk.queue.append(ready)
            self._answer_reads(ready)
            for change, outcome in ready.changes:
                self.outcomes[change] = outcome
                self.say(f"  {change}: {show_outcome(outcome)}")
            for load in ready.loads:
                entries = node.disk.read(load.low, load.high, load.max_bytes)
                core.entries_loaded(load.follower, load.low, entries, self.clock(node_id))
            for follower in ready.snapshots:
                meta = node.disk.snapshot
                assert meta is not None, "a snapshot is wanted but there is none"
                self.sending[node_id, follower] = meta
                self.send(node_id, follower, SnapshotRequest(core.term, node_id, meta))

    def _answer_reads(self, ready: Ready) -> None:
        for tokens, index in ready.reads:
            for token in tokens:
                assert index >= self.reads[token], f"read {token!r} would miss a committed write"
                self.answers[token] = index
                self.say(f"  read {token} sees {index}")
        for token in ready.dropped_reads:
            self.answers[token] = None
            self.say(f"  read {token} dropped")

    def send(self, source: NodeId, target: NodeId, message: Any) -> None:
        self.packets.append(Packet(source, target, message))

    def _narrate(self, node_id: NodeId, ready: Ready) -> None:
        if ready.soft is not None:
            role, term, leader, resting = ready.soft
            name = role.name.lower().replace("_", "-")
            rest = ", at rest" if resting else ""
            self.say(f"  {node_id} {name} term {show_term(term)} leader {leader or '-'}{rest}")
        if ready.truncated_from is not None:
            self.say(f"  {node_id} log cut at {ready.truncated_from}")
        if ready.removed is not None:
            self.say(f"  {node_id} {'is removed' if ready.removed else 'is back'}")
        if ready.reset is not None:
            self.say(f"  {node_id} log reset behind snapshot {ready.reset.index}")
        if ready.commit > self.told_commit[node_id]:
            self.told_commit[node_id] = ready.commit
            self.say(f"  {node_id} commit {ready.commit}")
