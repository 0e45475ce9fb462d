"""Cores on a simulated disk and network, one action at a time, with Raft's promises checked.

A node's disk holds only what was synced; a crash loses the rest. The network is a list of
messages that tests deliver, drop, duplicate and reorder. Every output of every core is checked
against the properties of figure 3 of the Raft paper as it appears.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trioraft.raft import RaftConfig, RaftCore, RaftLog, Ready
from trioraft.raft.errors import TrioraftError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    NodeId,
    Proposal,
    Role,
    SnapshotMeta,
)


@dataclass
class Packet:
    """A message under way. `token` travels with a request and names where the reply goes."""

    source: NodeId
    target: NodeId
    message: Any


@dataclass
class Disk:
    """What survives a crash, and the writes that have not been synced."""

    hard_state: HardState = field(default_factory=HardState)
    base: tuple[int, int] = (NO_INDEX, NO_TERM)
    entries: list[Entry] = field(default_factory=list)
    snapshot: SnapshotMeta | None = None
    queue: deque[Ready] = field(default_factory=deque)

    @property
    def last_index(self) -> int:
        return self.base[0] + len(self.entries)

    def write(self, ready: Ready) -> None:
        if ready.reset is not None:
            self.base = (ready.reset.index, ready.reset.term)
            self.entries = []
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.entries:
            keep = ready.entries[0].index - self.base[0] - 1
            assert 0 <= keep <= len(self.entries), "a gap in the stored log"
            self.entries[keep:] = ready.entries

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Reads see what is queued."""
        view = Disk(base=self.base, entries=list(self.entries))
        for ready in self.queue:
            view.write(ready)
        found: list[Entry] = []
        size = 0
        for entry in view.entries[max(low - view.base[0] - 1, 0) : high - view.base[0] - 1]:
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def term_at(self, index: int) -> int | None:
        if index == self.base[0]:
            return self.base[1]
        position = index - self.base[0] - 1
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def recover(self, max_cached_bytes: int) -> RaftLog:
        snapshot = self.snapshot
        stored = snapshot is None or self.term_at(snapshot.index) == snapshot.term
        if snapshot is not None and not stored and snapshot.index > self.base[0]:
            self.base, self.entries = (snapshot.index, snapshot.term), []
        runs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        configurations = [e for e in self.entries if e.kind is EntryKind.CONFIGURATION]
        return RaftLog.recovered(
            *self.base,
            self.last_index,
            runs,
            configurations,
            self.entries[-3:],
            max_cached_bytes,
        )


class Facts:
    """What is true for ever once it has been seen anywhere in the cluster (Raft figure 3)."""

    def __init__(self) -> None:
        self.leaders: dict[int, NodeId] = {}
        self.written: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.chosen: dict[int, int] = {}  # committed index -> term
        self.newest = NO_INDEX

    def leads(self, core: RaftCore) -> None:
        """Election safety, leader completeness."""
        known = self.leaders.setdefault(core.term, core.node_id)
        assert known == core.node_id, f"two leaders in term {core.term}"
        for index in range(core.log.base_index, self.newest + 1):
            if index in self.chosen:
                assert core.log.matches(index, self.chosen[index]), (
                    f"leader {core.node_id} of term {core.term} lacks committed {index}"
                )

    def writes(self, core: RaftCore, entries: Sequence[Entry]) -> None:
        """Log matching: an entry's index and term decide its content and what is before it."""
        for entry in entries:
            before = core.log.term_at(entry.index - 1)
            known = self.written.setdefault((entry.term, entry.index), (entry.data, before))
            assert known == (entry.data, before), f"log matching broken at {entry.index}"

    def commits(self, core: RaftCore, old: int) -> None:
        """State machine safety: no two nodes commit different entries at an index."""
        for index in range(max(old + 1, core.log.base_index, 0), core.commit + 1):
            term = core.log.term_at(index)
            assert self.chosen.setdefault(index, term) == term, f"two entries committed at {index}"
        self.newest = max(self.newest, core.commit)


class Node:
    """One core with its disk. `core` is None while it is down."""

    def __init__(self, node_id: NodeId, configuration: Configuration) -> None:
        """`configuration`: what it was first started with; none for a node that joins."""
        self.id = node_id
        self.configuration = configuration
        self.clock_rate = 1.0
        self.disk = Disk()
        self.core: RaftCore | None = None
        self.applied = NO_INDEX
        self.peers: list[NodeId] = []  # whom it has been told to be able to reach

    @property
    def up(self) -> RaftCore:
        assert self.core is not None, f"{self.id} is down"
        return self.core


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


def show_configuration(configuration: Configuration) -> str:
    """`n1 n2 n3 | learners n4 | from n1 n2`"""
    text = " ".join(m.id for m in configuration.voters) or "nobody"
    if configuration.learners:
        text += " | learners " + " ".join(m.id for m in configuration.learners)
    if configuration.is_joint:
        text += " | from " + " ".join(m.id for m in configuration.old_voters)
    return text


def show_outcome(outcome: Configuration | TrioraftError) -> str:
    if isinstance(outcome, TrioraftError):
        return f"{type(outcome).__name__}: {outcome}"
    return f"members are {show_configuration(outcome)}"


def show_term(term: int) -> str:
    """Packed terms as term.node."""
    return str(term) if term < 1 << 64 else f"{term >> 64}.{term & (1 << 64) - 1}"


def describe(packet: Packet) -> str:
    """A packet in a line, for transcripts."""
    m = packet.message
    route = f"{packet.source}->{packet.target}"
    if isinstance(m, VoteRequest):
        name = "pre-vote?" if m.pre else "vote!" if m.transfer else "vote?"
        where = f"{show_term(m.last_term)}/{m.last_index}"
        text = f"{name} term {show_term(m.term)} last {where}"
    elif isinstance(m, VoteReply):
        name = "pre-vote" if m.pre else "vote"
        text = f"{name} {'yes' if m.granted else 'no'} term {show_term(m.term)}"
        if m.shutdown:
            text += " you are removed"
    elif isinstance(m, AppendRequest):
        name = "heartbeat" if m.heartbeat else "append"
        datas = " ".join(_show_entry(e) for e in m.entries)
        prev = f"{show_term(m.prev_term)}/{m.prev_index}"
        text = f"{name} term {show_term(m.term)} after {prev} [{datas}] commit {m.commit}"
    elif isinstance(m, AppendReply):
        name = "heartbeat" if m.heartbeat else "append"
        text = f"{name} ok" if m.success else f"{name} NO"
        text += f" term {show_term(m.term)}"
        if m.success and not m.heartbeat:
            text += f" match {m.match_index}"
        elif not m.success:
            hint = f"{show_term(m.hint_term)}/{m.hint_index}"
            text += f" rejects {m.rejected_prev} hint {hint}"
    elif isinstance(m, SnapshotRequest):
        text = f"snapshot term {show_term(m.term)} up to {show_term(m.meta.term)}/{m.meta.index}"
    elif isinstance(m, SnapshotReply):
        text = f"snapshot {'ok' if m.success else 'NO'} term {show_term(m.term)} index {m.index}"
    elif isinstance(m, StartElection):
        text = f"start election, last {show_term(m.last_term)}/{m.last_index}"
    else:
        text = f"start election {'yes' if m else 'no'}"
    return f"{route} {text}"


def _show_entry(entry: Entry) -> str:
    if entry.kind is EntryKind.WRITE:
        return f"{entry.index}:{entry.data.decode()}"
    if entry.kind is EntryKind.CONFIGURATION:
        return f"{entry.index}:({show_configuration(Configuration.decode(entry.data))})"
    return f"{entry.index}:({entry.kind.name.lower()})"
