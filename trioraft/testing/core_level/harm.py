"""What goes wrong: crashes, cuts, processes that stand still, transfers that fail."""

from __future__ import annotations

from trioraft.raft.types import Role

from .scene import Scene
from .weather import healthy_round

__all__ = ["crash_or_restart", "depose", "fail_snapshot", "lose_stream", "partition", "pause"]


def crash_or_restart(s: Scene) -> None:
    """A node loses its memory and most unsynced writes, or comes back."""
    node = s.rng.choice(s.nodes)
    if node.core is None:
        s.say(f"# {node.id} restarts")
        s.group.start(node)
        return
    survivors = s.rng.choice((0, 0, 1, 2))
    s.say(f"# {node.id} crashes; {survivors} of {len(node.disk.queue)} writes survive")
    s.group.crash(node, survivors)
    s.crashes += 1


def partition(s: Scene) -> None:
    """Cut the leader off, or somebody, or nobody."""
    leader = s.some_leader()
    victim = s.rng.choice((leader, s.rng.choice(s.nodes), None))
    s.cut_off = None if victim is None else victim.id
    s.say(f"# cut off: {s.cut_off or 'nobody'}")


def pause(s: Scene) -> None:
    """A process stands still, or goes on: with a read, before it looks at clock or network."""
    if s.paused is None:
        victim = s.some_leader()
        s.paused = None if victim is None else victim.id
        s.say(f"# stands still: {s.paused or 'nobody'}")
        return
    node = s.group.nodes[s.paused]
    s.paused = None
    s.say(f"# {node.id} goes on")
    if node.core is not None and node.core.role is Role.LEADER:
        s.asked_reads += 1
        s.group.read(node, s.asked_reads, lease=True)


def depose(s: Scene) -> None:
    """Cut the leader off for long enough that the others go on without it."""
    leader = s.some_leader()
    s.cut_off = None if leader is None else leader.id
    s.say(f"# cut off for a while: {s.cut_off or 'nobody'}")
    for _ in range(s.rng.randrange(30)):
        healthy_round(s)


def lose_stream(s: Scene) -> None:
    """A leader's stream to somebody breaks."""
    leader = s.some_leader()
    if leader is not None:
        other = s.rng.choice(s.ids)
        leader.up.peer_unreachable(other, s.group.clock(leader))
        s.group.flush(leader)


def fail_snapshot(s: Scene) -> None:
    """All snapshots under way fail."""
    for node in s.nodes:
        for follower in list(node.sending):
            s.group.end_snapshot(node, follower, success=False)
