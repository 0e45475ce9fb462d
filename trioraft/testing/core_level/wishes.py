"""What applications and operators want of a group, at good moments and at bad ones."""

from __future__ import annotations

from trioraft.raft.errors import InvariantError, NotLeaderError, OverloadedError, TrioraftError

from .scene import Scene
from .shapes import random_change

__all__ = [
    "change_members",
    "compact",
    "pause_elections",
    "propose",
    "read",
    "rest",
    "step_down",
    "transfer",
]


def propose(s: Scene) -> None:
    """Some entries, the next numbers."""
    if (leader := s.some_leader()) is None:
        return
    count = s.rng.choice((1, 1, 2, 5))
    data = [b"%d" % (s.proposed + n) for n in range(count)]
    try:
        s.group.propose(leader, data)
    except (NotLeaderError, OverloadedError):
        return
    s.proposed += count


def read(s: Scene) -> None:
    """A read, more often than not by lease."""
    if (leader := s.some_leader()) is not None:
        s.asked_reads += 1
        s.group.read(leader, s.asked_reads, lease=s.rng.random() < 0.7)


def compact(s: Scene) -> None:
    """A snapshot of what is applied, and a log cut somewhere before it."""
    node = s.some_node()
    if node is not None and node.applied > node.up.log.base_index:
        s.group.compact(node, s.rng.randint(node.up.log.base_index + 1, node.applied))


def transfer(s: Scene) -> None:
    """Leadership goes to whoever is best."""
    leader = s.some_leader()
    if leader is None:
        return
    core = leader.up
    if len(core.configuration.voters) > 1:
        try:
            heir = core.transfer_leadership(None, s.group.clock(leader))
        except TrioraftError as error:
            s.say(f"# {leader.id} does not hand over: {error}")
            return
        s.say(f"# {leader.id} hands over to {heir}")
        s.group.flush(leader)


def step_down(s: Scene) -> None:
    """A leader gives up."""
    if (leader := s.some_leader()) is not None:
        s.say(f"# {leader.id} steps down")
        leader.up.step_down(s.group.clock(leader))
        s.group.flush(leader)


def change_members(s: Scene) -> None:
    """A change of members, sensible or not."""
    leader = s.some_leader()
    if leader is None:
        return
    change = random_change(s.rng, leader.up.configuration, s.ids)
    s.asked_changes += 1
    s.say(f"# change {s.asked_changes} at {leader.id}: {change}")
    try:
        s.group.change(leader, change, s.asked_changes)
    except InvariantError:
        raise
    except TrioraftError as error:
        s.say(f"# change {s.asked_changes} refused: {error}")


def pause_elections(s: Scene) -> None:
    """A node must not campaign, or may again."""
    node = s.some_node()
    if node is not None and node.up.elections_paused:
        node.up.resume_elections(s.group.clock(node))
    elif node is not None:
        node.up.pause_elections()


def rest(s: Scene) -> None:
    """Some node that has nothing to do goes to rest, as idle groups do together."""
    node = s.some_node()
    if node is not None and node.up.rest(s.group.clock(node)):
        s.say(f"# {node.id} rests")
