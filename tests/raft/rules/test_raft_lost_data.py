"""Followers that have lost what they had acknowledged: a disk was replaced, or lied."""

from __future__ import annotations

from raft_group import Group
from raft_node import Disk
from raft_rig import HEARTBEAT, Rig, appends

from trioraft.raft.membership import MembershipChange
from trioraft.raft.messages import AppendReply
from trioraft.raft.types import NO_INDEX, Member


def test_a_follower_that_lost_what_it_acknowledged_gets_it_again() -> None:
    """A heartbeat claims only what was acknowledged: who denies that has lost it."""
    rig = Rig(1, 1, 1)
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.wait(HEARTBEAT)
    lost = AppendReply(
        rig.core.term, "n2", False, rejected_prev=3, hint_index=0, hint_term=1, heartbeat=True
    )
    rig.step(lost)
    (again,) = appends(rig.ready(), "n2")
    assert (again.prev_index, [e.index for e in again.entries]) == (0, [1, 2, 3])
    rig.accept("n2")
    progress = rig.core.progress("n2")
    assert progress is not None
    assert progress.match_index == 3
    assert rig.core.commit == 3


def test_an_old_denial_changes_nothing() -> None:
    rig = Rig(1, 1, 1)
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.step(AppendReply(rig.core.term, "n2", False, rejected_prev=1, heartbeat=True))
    assert appends(rig.ready(), "n2") == []


def test_a_node_with_an_empty_disk_catches_up() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.cluster.propose("n1", b"a", b"b")
    group.run(1)
    group.cluster.crash("n2")
    group.cluster.nodes["n2"].disk = Disk()
    group.cluster.start(group.cluster.nodes["n2"])
    group.run(3)
    assert group.leader == "n1"
    assert group.cluster.core("n2").commit == group.cluster.core("n1").commit == 2


def test_a_node_with_an_empty_disk_gets_a_snapshot_if_the_log_is_gone() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    group.cluster.propose("n1", b"a", b"b")
    group.run(1)
    group.cluster.compact("n1", 1)
    group.cluster.crash("n2")
    group.cluster.nodes["n2"].disk = Disk()
    group.cluster.start(group.cluster.nodes["n2"])
    group.run(3)
    assert group.leader == "n1"
    assert group.cluster.core("n2").log.base_index == 2


def test_a_denial_without_a_hint_is_answered_in_growing_steps() -> None:
    """openraft's refusal says no more than "not that": n lost entries must not cost n rounds."""
    rig = Rig(*[1] * 2000)
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.wait(HEARTBEAT)
    last = rig.core.last_index
    ready = rig.settle()
    denied = AppendReply(
        rig.core.term, "n2", False, rejected_prev=last, hint_index=last - 1, heartbeat=True
    )
    rig.step(denied)
    progress = rig.core.progress("n2")
    assert progress is not None
    assert progress.match_index == NO_INDEX, "nothing of what it has lost may count"
    for _ in range(13):
        ready = rig.settle()
        (probe,) = appends(ready, "n2")
        if probe.prev_index == NO_INDEX:
            break
        refusal = AppendReply(
            rig.core.term,
            "n2",
            False,
            rejected_prev=probe.prev_index,
            hint_index=probe.prev_index - 1,
        )
        rig.step(refusal)
    assert probe.entries[0].index == 0


def test_a_hint_is_no_proof() -> None:
    """Up to a hint the logs can agree; that they do, only an accepted append says."""
    rig = Rig(1, 1, 1)
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.wait(HEARTBEAT)
    rig.step(
        AppendReply(
            rig.core.term, "n2", False, rejected_prev=3, hint_index=2, hint_term=1, heartbeat=True
        )
    )
    progress = rig.core.progress("n2")
    assert progress is not None
    assert (progress.match_index, progress.next_index) == (NO_INDEX, 3)


def test_who_comes_back_at_once_comes_back_with_nothing() -> None:
    """A removed member is still told of it when it is added again, perhaps with an empty disk."""
    rig = Rig(1, 1, 1)
    rig.lead()
    rig.accept("n2")
    rig.accept("n3")
    rig.settle()
    rig.core.change_membership(MembershipChange.remove("n3"), "removal", rig.now)
    for _ in range(3):
        rig.settle()
        rig.accept("n2", commit=rig.core.commit)
    progress = rig.core.progress("n3")
    assert progress is not None, "it has not said yet that it knows"
    assert progress.match_index > 0
    rig.core.change_membership(MembershipChange.add((Member("n3", "n3"),)), "return", rig.now)
    progress = rig.core.progress("n3")
    assert progress is not None
    assert progress.match_index == NO_INDEX
