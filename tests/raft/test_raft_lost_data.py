"""Followers that have lost what they had acknowledged: a disk was replaced, or lied."""

from __future__ import annotations

from raft_cluster import Disk
from raft_group import Group
from raft_rig import HEARTBEAT, Rig, appends

from trioraft.raft.types import AppendReply


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
