"""One random schedule of a group of cores, from a seed.

Messages are lost, doubled and overtaken, disks are slow, clocks run at different rates, nodes
crash, stand still and are cut off, leadership is handed over, logs are compacted. At the end all
of that stops and the group must agree again: nothing may stay stuck.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from trioraft.raft.errors import (
    InvariantError,
    NotLeaderError,
    OverloadedError,
    TrioraftError,
)
from trioraft.raft.types import Role, SnapshotReply, SnapshotRequest
from trioraft.testing.invariants import InvariantViolatedError

from .group import CoreGroup, CoreNode
from .shapes import random_change, random_config, random_configuration

__all__ = ["ACTIONS", "ScheduleOutcome", "run_schedule"]

ACTIONS = 250  # per schedule, after a first agreement
_PACKET_LIMIT = 80  # messages under way; older ones are lost
_MOST_DRIFT = 0.1  # of clocks, which leases of 0.9 election timeouts have to bear
_HEALTHY_ROUNDS = 400  # of 30 ms, until a healed group must agree


@dataclass(frozen=True, slots=True)
class ScheduleOutcome:
    """What one schedule did. The same seed gives the same outcome."""

    seed: int
    nodes: int
    committed: int  # entries
    leaderships: int
    reads: int  # answered
    crashes: int
    changes: int  # of membership, carried through


def run_schedule(
    seed: int, *, actions: int = ACTIONS, say: Callable[[str], None] | None = None
) -> ScheduleOutcome:
    """Run the schedule of `seed`. `say` is told what happens, a line at a time.

    Raises InvariantViolatedError for a broken promise, InvariantError if a core finds one.
    """
    schedule = _Schedule(seed, say)
    try:
        schedule.run(actions)
    except Exception as error:
        error.add_note(f"in the core-level schedule of seed {seed}")
        raise
    group = schedule.group
    return ScheduleOutcome(
        seed,
        len(group.nodes),
        group.invariants.newest_commit + 1,
        len(group.invariants.leaders),
        group.answered_reads,
        schedule.crashes,
        group.changed,
    )


class _Schedule:
    def __init__(self, seed: int, say: Callable[[str], None] | None) -> None:
        self.rng = rng = random.Random(seed)
        configuration, spare = random_configuration(rng)
        config = random_config(rng)
        drift = rng.choice((0.0, _MOST_DRIFT))
        self.group = CoreGroup(configuration, config, rng, spare=spare, drift=drift, say=say)
        self.nodes = list(self.group.nodes.values())
        self.ids = [node.id for node in self.nodes]
        self.crashes = 0
        self._proposed = 0
        self._reads = 0
        self._changes = 0
        self._cut_off: str | None = None  # nobody hears it and it hears nobody
        self._paused: str | None = None  # its process stands still
        stormy = rng.random() < 0.4
        self._actions: list[tuple[int, Callable[[], None]]] = [
            (160, self.deliver),
            (80 if stormy else 30, self.tick),
            (40, self.sync),
            (25, self.propose),
            (6, self.drop),
            (6, self.duplicate),
            (8, self.read),
            (16 if stormy else 3, self.crash_or_restart),
            (4, self.partition),
            (2, self.pause),
            (2, self.depose),
            (8, self.compact),
            (3, self.change_members),
            (1, self.transfer),
            (1, self.step_down),
            (1, self.pause_elections),
            (1, self.rest),
            (1, self.lose_stream),
            (1, self.fail_snapshot),
        ]

    def run(self, actions: int) -> None:
        weights = [weight for weight, _ in self._actions]
        steps = [action for _, action in self._actions]
        self.heal()
        packets = self.group.packets
        for action in self.rng.choices(steps, weights, k=actions):
            action()
            if len(packets) > _PACKET_LIMIT:
                del packets[:-_PACKET_LIMIT]
        self.heal()

    def _say(self, line: str) -> None:
        if self.group.say is not None:
            self.group.say(line)

    # -- who

    def some_node(self) -> CoreNode | None:
        """A node that is up and does not stand still."""
        up = [n for n in self.nodes if n.core is not None and n.id != self._paused]
        return self.rng.choice(up) if up else None

    def some_leader(self) -> CoreNode | None:
        """The leader, or one that does not know yet that it is deposed."""
        leaders = [
            n
            for n in self.nodes
            if n.core is not None and n.core.role is Role.LEADER and n.id != self._paused
        ]
        return self.rng.choice(leaders) if leaders else None

    # -- what the network, the disks and the clocks do

    def deliver(self) -> None:
        packets = self.group.packets
        if not packets:
            return
        early = self.rng.random() < 0.7
        packet = packets.pop(0 if early else self.rng.randrange(len(packets)))
        if packet.target == self._paused:
            packets.append(packet)  # the kernel keeps it
        elif self._cut_off is None or self._cut_off not in (packet.source, packet.target):
            self.group.deliver(packet)

    def drop(self) -> None:
        packets = self.group.packets
        if packets:
            packets.pop(self.rng.randrange(len(packets)))

    def duplicate(self) -> None:
        packets = self.group.packets
        if packets:
            packets.append(self.rng.choice(packets))

    def tick(self) -> None:
        self.group.now += self.rng.choice((0.01, 0.02, 0.05, 0.1))
        for node in self.nodes:
            if node.core is not None and node.id != self._paused and self.rng.random() < 0.7:
                self.group.tick(node)

    def sync(self) -> None:
        if (node := self.some_node()) is not None:
            self.group.sync(node)

    # -- faults

    def crash_or_restart(self) -> None:
        node = self.rng.choice(self.nodes)
        if node.core is None:
            self._say(f"# {node.id} restarts")
            self.group.start(node)
            return
        survivors = self.rng.choice((0, 0, 1, 2))
        self._say(f"# {node.id} crashes; {survivors} of {len(node.disk.queue)} writes survive")
        self.group.crash(node, survivors)
        self.crashes += 1

    def partition(self) -> None:
        """Cut the leader off, or somebody, or nobody."""
        leader = self.some_leader()
        victim = self.rng.choice((leader, self.rng.choice(self.nodes), None))
        self._cut_off = None if victim is None else victim.id
        self._say(f"# cut off: {self._cut_off or 'nobody'}")

    def pause(self) -> None:
        """A process stands still, or goes on."""
        victim = self.some_leader() if self._paused is None else None
        self._paused = None if victim is None else victim.id
        self._say(f"# stands still: {self._paused or 'nobody'}")

    def depose(self) -> None:
        """Cut the leader off for long enough that the others go on without it."""
        leader = self.some_leader()
        self._cut_off = None if leader is None else leader.id
        self._say(f"# cut off for a while: {self._cut_off or 'nobody'}")
        for _ in range(self.rng.randrange(30)):
            self.healthy_round()

    def lose_stream(self) -> None:
        leader = self.some_leader()
        if leader is not None:
            other = self.rng.choice(self.ids)
            leader.up.peer_unreachable(other, self.group.clock(leader))
            self.group.flush(leader)

    def fail_snapshot(self) -> None:
        for node in self.nodes:
            for follower in list(node.sending):
                self.group.end_snapshot(node, follower, success=False)

    # -- what applications want

    def propose(self) -> None:
        if (leader := self.some_leader()) is None:
            return
        count = self.rng.choice((1, 1, 2, 5))
        data = [b"%d" % (self._proposed + n) for n in range(count)]
        try:
            self.group.propose(leader, data)
        except (NotLeaderError, OverloadedError):
            return
        self._proposed += count

    def read(self) -> None:
        if (leader := self.some_leader()) is not None:
            self._reads += 1
            self.group.read(leader, self._reads, lease=self.rng.random() < 0.7)

    def compact(self) -> None:
        node = self.some_node()
        if node is not None and node.applied > node.up.log.base_index:
            self.group.compact(node, self.rng.randint(node.up.log.base_index + 1, node.applied))

    def transfer(self) -> None:
        leader = self.some_leader()
        if leader is None:
            return
        core = leader.up
        if len(core.configuration.voters) > 1:
            try:
                heir = core.transfer_leadership(None, self.group.clock(leader))
            except TrioraftError as error:
                self._say(f"# {leader.id} does not hand over: {error}")
                return
            self._say(f"# {leader.id} hands over to {heir}")
            self.group.flush(leader)

    def step_down(self) -> None:
        if (leader := self.some_leader()) is not None:
            self._say(f"# {leader.id} steps down")
            leader.up.step_down(self.group.clock(leader))
            self.group.flush(leader)

    def change_members(self) -> None:
        leader = self.some_leader()
        if leader is None:
            return
        change = random_change(self.rng, leader.up.configuration, self.ids)
        self._changes += 1
        self._say(f"# change {self._changes} at {leader.id}: {change}")
        try:
            self.group.change(leader, change, self._changes)
        except InvariantError:
            raise
        except TrioraftError as error:
            self._say(f"# change {self._changes} refused: {error}")

    def pause_elections(self) -> None:
        node = self.some_node()
        if node is not None and node.up.elections_paused:
            node.up.resume_elections(self.group.clock(node))
        elif node is not None:
            node.up.pause_elections()

    def rest(self) -> None:
        """Some node that has nothing to do goes to rest, as idle groups do together."""
        node = self.some_node()
        if node is not None and node.up.rest(self.group.clock(node)):
            self._say(f"# {node.id} rests")

    # -- the end

    def heal(self) -> None:
        """No more faults: within a few elections everybody agrees."""
        self._cut_off = self._paused = None
        self._say("# all is healed")
        for node in self.nodes:
            if node.core is None:
                self.group.start(node)
            if node.up.elections_paused:
                node.up.resume_elections(self.group.clock(node))
            if node.up.resting:
                node.up.wake(self.group.clock(node))
            self.group.flush(node)
        for _ in range(_HEALTHY_ROUNDS):
            self.healthy_round()
            self.fail_lost_snapshots()
            if self.agreed():
                return
        states = ", ".join(
            f"{n.id}: {n.up.role.name} {n.up.term} {n.up.commit}/{n.up.last_index}"
            for n in self.nodes
        )
        raise InvariantViolatedError(
            f"no agreement {_HEALTHY_ROUNDS * 0.03:g} s after all was healed ({states})"
        )

    def healthy_round(self) -> None:
        """Every clock ticks, every disk syncs, every message arrives, except where cut off."""
        group = self.group
        group.now += 0.03
        for node in self.nodes:
            if node.core is not None and node.id != self._paused:
                group.tick(node)
                while group.sync(node):
                    pass
        packets = group.packets[:]
        group.packets.clear()
        cut_off = self._cut_off
        for packet in packets:
            if cut_off in (packet.source, packet.target) or packet.target == self._paused:
                continue
            group.deliver(packet)

    def fail_lost_snapshots(self) -> None:
        """The answer to a snapshot can be lost; the sender notices when nothing is under way."""
        if not any(node.sending for node in self.nodes):
            return
        waiting = any(r.synced_replies for n in self.nodes for r in n.disk.queue)
        moving = any(
            isinstance(p.message, SnapshotRequest | SnapshotReply) for p in self.group.packets
        )
        if not waiting and not moving:
            self.fail_snapshot()

    def agreed(self) -> bool:
        """All members follow one leader and have what it has."""
        leader = self.group.leader
        if leader is None or leader.log.last_term != leader.term:
            return False
        configuration = leader.configuration
        if configuration.is_joint or not configuration.is_voter(leader.node_id):
            return False
        members = [self.group.nodes[member.id].up for member in configuration.members()]
        return all(
            core.commit == core.last_index == leader.last_index and core.leader_id == leader.node_id
            for core in members
        )
