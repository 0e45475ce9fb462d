"""The end of all faults: within a few elections everybody agrees, or something is stuck."""

from __future__ import annotations

from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.testing.invariants import InvariantViolatedError

from .harm import fail_snapshot
from .scene import Scene
from .weather import healthy_round

__all__ = ["heal"]

_HEALTHY_ROUNDS = 400  # of 30 ms, until a healed group must agree


def heal(s: Scene) -> None:
    """No more faults: within a few elections everybody agrees."""
    s.cut_off = s.paused = None
    s.say("# all is healed")
    for node in s.nodes:
        if node.core is None:
            s.group.start(node)
        if node.up.elections_paused:
            node.up.resume_elections(s.group.clock(node))
        if node.up.resting:
            node.up.wake(s.group.clock(node))
        s.group.flush(node)
    for _ in range(_HEALTHY_ROUNDS):
        healthy_round(s)
        _fail_lost_snapshots(s)
        if _agreed(s):
            return
    states = ", ".join(
        f"{n.id}: {n.up.role.name} {n.up.term} {n.up.commit}/{n.up.last_index}" for n in s.nodes
    )
    raise InvariantViolatedError(
        f"no agreement {_HEALTHY_ROUNDS * 0.03:g} s after all was healed ({states})"
    )


def _fail_lost_snapshots(s: Scene) -> None:
    """The answer to a snapshot can be lost; the sender notices when nothing is under way."""
    if not any(node.sending for node in s.nodes):
        return
    waiting = any(r.synced_replies for n in s.nodes for r in n.disk.queue)
    moving = any(isinstance(p.message, SnapshotRequest | SnapshotReply) for p in s.group.packets)
    if not waiting and not moving:
        fail_snapshot(s)


def _agreed(s: Scene) -> bool:
    """All members follow one leader and have what it has."""
    leader = s.group.leader
    if leader is None or leader.log.last_term != leader.term:
        return False
    configuration = leader.configuration
    if configuration.is_joint or not configuration.is_voter(leader.node_id):
        return False
    members = [s.group.nodes[member.id].up for member in configuration.members()]
    return all(
        core.commit == core.last_index == leader.last_index and core.leader_id == leader.node_id
        for core in members
    )
