"""A group of cores: their disks, their clocks, and the messages between them.

Everything happens because a schedule says so: a message is delivered, a write is synced, a
clock ticks. After each of these the promises of Raft are checked (`testing.invariants`).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from trioraft.raft import RaftConfig, RaftCore, Ready
from trioraft.raft.membership import MembershipChange
from trioraft.raft.messages import AppendReply, SnapshotReply, SnapshotRequest, VoteReply
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    NodeId,
    Proposal,
    Role,
    SnapshotMeta,
)
from trioraft.testing.invariants import GroupInvariants, InvariantViolatedError

from .answers import Answers
from .node import CoreNode, Packet
from .story import describe_packet, describe_ready

__all__ = ["CoreGroup"]


class CoreGroup:
    """Cores under the hand of a schedule. `say` is told what happens, a line at a time."""

    def __init__(
        self,
        configuration: Configuration,
        config: RaftConfig,
        rng: random.Random,
        *,
        spare: tuple[NodeId, ...] = (),
        drift: float = 0.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """spare: nodes that run and wait to be added. drift: how much faster a clock may run."""
        self._configuration = configuration
        self._config = config
        self._seed = rng.getrandbits(64)
        self.say = say
        self.now = 0.0  # true time, in seconds
        self.packets: list[Packet] = []
        self.invariants = GroupInvariants(self._is_stored)
        self.answers = Answers()
        ids = (*(m.id for m in configuration.members()), *spare)
        self.nodes = {i: CoreNode(i, 1.0 + drift * rng.random()) for i in ids}
        for node in self.nodes.values():
            self.start(node)

    def clock(self, node: CoreNode) -> float:
        """What the node takes for the time."""
        return self.now * node.rate

    @property
    def leader(self) -> RaftCore | None:
        """The leader of the highest term."""
        leaders = [n.core for n in self.nodes.values() if n.core and n.core.role is Role.LEADER]
        return max(leaders, key=lambda core: core.term, default=None)

    def _is_stored(self, node_id: NodeId, index: int, term: int) -> bool:
        return self.nodes[node_id].disk.holds(index, term)

    # -- life and death

    def start(self, node: CoreNode) -> None:
        """Boot a node on what its disk holds."""
        disk = node.disk
        log = disk.recover(self._config.max_cached_bytes)
        snapshot = disk.snapshot
        bootstrap = self._configuration
        if bootstrap.member(node.id) is None:
            bootstrap = Configuration(())  # it waits to be added
        node.boots += 1
        node.core = RaftCore(
            node_id=node.id,
            config=self._config,
            configuration=bootstrap if snapshot is None else snapshot.configuration,
            log=log,
            hard_state=disk.hard_state,
            rng=random.Random(f"{self._seed}/{node.id}/{node.boots}"),
            now=self.clock(node),
            commit=NO_INDEX if snapshot is None else snapshot.index,
            configuration_index=NO_INDEX if snapshot is None else snapshot.configuration_index,
        )
        node.applied = node.core.commit
        node.events = -1
        self.invariants.started(node.core)
        self.flush(node)

    def crash(self, node: CoreNode, survivors: int) -> None:
        """Lose what is not synced, except for the first `survivors` writes."""
        node.disk.crash(survivors)
        node.core = None
        node.sending.clear()

    # -- inputs

    def tick(self, node: CoreNode) -> None:
        core, now = node.up, self.clock(node)
        if core.next_deadline <= now:
            core.tick(now)
            self.flush(node)

    def propose(self, node: CoreNode, data: list[bytes]) -> None:
        """Raises what `RaftCore.propose` raises."""
        node.up.propose([Proposal(d) for d in data], self.clock(node))
        self.flush(node)

    def read(self, node: CoreNode, token: int, *, lease: bool) -> None:
        """Raises NotLeaderError."""
        node.up.read_index(token, self.clock(node), lease=lease)
        self.answers.expect_read(token, self.invariants.newest_commit)
        self.flush(node)

    def change(self, node: CoreNode, change: MembershipChange, token: int) -> None:
        """Raises what `RaftCore.change_membership` raises."""
        node.up.change_membership(change, token, self.clock(node))
        self.answers.expect_change(token)
        self.flush(node)

    def deliver(self, packet: Packet) -> None:
        """Hand a packet in; the schedule has taken it off the network."""
        node = self.nodes[packet.target]
        core, message = node.core, packet.message
        if core is None:
            return
        if self.say is not None:
            self.say(describe_packet(packet.source, packet.target, message))
        kind = type(message)
        if kind is SnapshotRequest:
            self._receive_snapshot(node, core, packet.source, message)
        elif kind is SnapshotReply:
            self.end_snapshot(node, packet.source, message.success)
        elif kind is bool:
            if not message:
                core.handover_refused(packet.source, core.term, self.clock(node))
        else:
            is_reply = kind is AppendReply or kind is VoteReply
            core.step(message, None if is_reply else packet.source, self.clock(node))
        self.flush(node)

    def _receive_snapshot(
        self, node: CoreNode, core: RaftCore, source: NodeId, request: SnapshotRequest
    ) -> None:
        if core.snapshot_received(request, source, self.clock(node)):
            newest = node.disk.snapshot
            if newest is None or request.meta.index > newest.index:
                node.disk.snapshot = request.meta
            core.snapshot_installed(request.meta, source, self.clock(node))

    def end_snapshot(self, node: CoreNode, follower: NodeId, success: bool) -> None:
        """The transfer of a snapshot from `node` is over."""
        meta = node.sending.pop(follower, None)
        if meta is not None and node.core is not None:
            node.core.snapshot_finished(follower, meta if success else None, self.clock(node))
            self.flush(node)

    def sync(self, node: CoreNode) -> bool:
        """The oldest waiting write of a node becomes durable; False if none waits."""
        if not node.disk.queue:
            return False
        ready = node.disk.sync()
        for target, request in ready.synced_messages:
            self.packets.append(Packet(node.id, target, request))
        for token, reply in ready.synced_replies:
            self.packets.append(Packet(node.id, str(token), reply))
        last = ready.entries[-1] if ready.entries else None
        index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
        node.up.persisted(index, term, ready.sequence)
        self.flush(node)
        return True

    def compact(self, node: CoreNode, keep_after: int) -> None:
        """Take a snapshot of what is applied and drop the log up to `keep_after`."""
        core = node.up
        index, configuration = core.configuration_at(node.applied)
        term = core.log.term_at(node.applied)
        meta = SnapshotMeta(node.applied, term, configuration, configuration_index=index)
        node.disk.snapshot = meta
        core.compact(meta, keep_after)
        node.disk.compact(keep_after)
        self.flush(node)

    # -- outputs

    def flush(self, node: CoreNode) -> None:
        """Carry out every Ready of a node, up to the disk, and check what came of it."""
        core = node.up
        while core.has_ready():
            ready = core.ready()
            if self.say is not None:
                for line in describe_ready(node.id, ready, node.applied):
                    self.say(line)
            self._carry_out(node, core, ready)
        if core.events != node.events:
            node.events = core.events
            self.invariants.observe(core)

    def _carry_out(self, node: CoreNode, core: RaftCore, ready: Ready) -> None:
        packets, source = self.packets, node.id
        for target, message in ready.messages:
            packets.append(Packet(source, target, message))
        for token, reply in ready.replies:
            packets.append(Packet(source, str(token), reply))
        if ready.must_persist or node.disk.queue:
            node.disk.queue.append(ready)
        else:
            # Nothing waits for the disk: durable at once.
            for target, request in ready.synced_messages:
                packets.append(Packet(source, target, request))
            for token, reply in ready.synced_replies:
                packets.append(Packet(source, str(token), reply))
        if ready.commit < node.applied:
            raise InvariantViolatedError(f"{source}: commit fell to {ready.commit}")
        node.applied = ready.commit
        for tokens, index in ready.reads:
            for token in tokens:
                self.answers.read_served(source, token, index)
        for token in ready.dropped_reads:
            self.answers.read_dropped(token)
        for token, outcome in ready.changes:
            self.answers.change_ended(token, success=isinstance(outcome, Configuration))
            if self.say is not None:
                self.say(f"  {source} change {token}: {outcome}")
        for load in ready.loads:
            entries = node.disk.read(load.low, load.high, load.max_bytes)
            core.entries_loaded(load.follower, load.low, entries, self.clock(node))
        for follower in ready.snapshots:
            meta = node.disk.snapshot
            if meta is None:
                raise AssertionError(f"{source} wants a snapshot for {follower}, there is none")
            node.sending[follower] = meta
            packets.append(Packet(source, follower, SnapshotRequest(core.term, source, meta)))
