"""Snapshots that a leader sends its followers (Raft §7)."""

from __future__ import annotations

from raft_rig import Rig, append, only_reply, terms

from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import (
    Configuration,
    Member,
    SnapshotMeta,
)


def snapshot(index: int, term: int, leader: str = "n2") -> SnapshotRequest:
    configuration = Configuration((Member("n1", "a"), Member("n2", "b")))
    meta = SnapshotMeta(index, term, configuration, configuration_index=3)
    return SnapshotRequest(5, leader, meta)


def test_a_snapshot_replaces_the_log() -> None:
    rig = Rig(1, 1, 2, term=2)
    request = snapshot(9, 4)
    assert rig.core.snapshot_received(request, "s", 0.0)
    assert rig.core.leader_id == "n2"
    rig.core.snapshot_installed(request.meta, "s", 0.0)
    ready = rig.ready()
    assert (ready.reset, ready.entries, ready.truncated_from) == (request.meta, (), 0)
    assert ready.synced_replies == [("s", SnapshotReply(5, "n1", True, 9))]
    log = rig.core.log
    assert (log.base_index, log.base_term, log.last_index, rig.core.commit) == (9, 4, 9, 9)
    assert rig.core.configuration_at(9) == (3, request.meta.configuration)
    rig.sync()
    rig.step(append((4, 9), 5, term=5, commit=10), "a")
    assert only_reply(rig.settle()).match_index == 10


def test_a_snapshot_of_what_is_there_only_commits() -> None:
    rig = Rig(1, 1, 2, term=2)
    assert not rig.core.snapshot_received(snapshot(1, 1), "s", 0.0)
    ready = rig.ready()
    assert only_reply(ready) == SnapshotReply(5, "n1", True, 1)
    assert (ready.reset, ready.commit, terms(rig)) == (None, 1, (1, 1, 2))


def test_a_snapshot_that_is_older_than_the_commit_is_not_installed() -> None:
    rig = Rig(1, 1, 1, term=1)
    request = snapshot(9, 4)
    assert rig.core.snapshot_received(request, "s", 0.0)
    rig.step(append((1, 2), *[5] * 8, term=5, commit=10), "a")
    rig.core.snapshot_installed(request.meta, "s", 0.0)
    ready = rig.ready()
    assert ready.reset is None
    assert ("s", SnapshotReply(5, "n1", True, 10)) in ready.synced_replies


def test_a_deposed_leaders_snapshot_is_refused() -> None:
    rig = Rig(term=6)
    assert not rig.core.snapshot_received(snapshot(9, 4), "s", 0.0)
    assert rig.ready().replies == [("s", SnapshotReply(6, "n1", False))]
