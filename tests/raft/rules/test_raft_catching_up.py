"""Followers that need what is no longer in memory: entries from disk, snapshots."""

from __future__ import annotations

import pytest
from leader_rig import leader, progress, propose, reject
from raft_rig import Rig, appends, entries

from trioraft.raft import LoadEntries, ProgressState
from trioraft.raft.messages import AppendReply
from trioraft.raft.types import NO_INDEX, SnapshotMeta


def test_entries_that_left_the_cache_are_loaded() -> None:
    rig = Rig(1, 1, 1, 1, max_cached_bytes=600)
    rig.lead()
    first = rig.core.log.cached_from
    assert first > 1
    reject(rig, 3, 0, 1)
    ready = rig.ready()
    assert appends(ready, "n2") == []
    (load,) = ready.loads
    assert load == LoadEntries("n2", 1, first, rig.config.max_append_bytes)
    assert rig.ready().loads == []
    loaded = entries(1, 1, 1)
    rig.core.entries_loaded("n2", 1, loaded, rig.now)
    (request,) = appends(rig.ready(), "n2")
    assert (request.prev_index, list(request.entries)) == (0, loaded)


@pytest.mark.parametrize("loaded", [[], entries(1, 7), entries(2, 1)])
def test_loaded_entries_that_do_not_fit_are_asked_for_again(loaded: list[object]) -> None:
    rig = Rig(1, 1, 1, 1, max_cached_bytes=600)
    rig.lead()
    reject(rig, 3, 0, 1)
    rig.ready()
    rig.core.entries_loaded("n2", 1, loaded, rig.now)  # type: ignore[arg-type]
    ready = rig.ready()
    assert appends(ready, "n2") == []
    assert len(ready.loads) == 1


def meta(rig: Rig, index: int) -> SnapshotMeta:
    return SnapshotMeta(index, rig.core.log.term_at(index), rig.core.configuration)


def test_a_follower_behind_the_base_needs_a_snapshot() -> None:
    rig = leader(1, 1, 1)
    rig.core.compact(meta(rig, 3), 2)
    assert (rig.core.log.base_index, rig.core.log.base_term) == (2, 1)
    rig.core.peer_unreachable("n2", rig.now)
    rig.settle()
    progress(rig).match_index = NO_INDEX  # as if it had just been elected
    rig.core.peer_unreachable("n2", rig.now)
    ready = rig.ready()
    assert ready.snapshots == ["n2"]
    assert appends(ready, "n2") == []
    propose(rig, b"a")
    assert appends(rig.ready(), "n2") == []
    rig.core.peer_unreachable("n2", rig.now)
    assert progress(rig).state is ProgressState.SNAPSHOT
    rig.core.snapshot_finished("n2", meta(rig, 3), rig.now)
    (request,) = appends(rig.ready(), "n2")
    assert (request.prev_index, progress(rig).match_index) == (3, 3)


def test_a_failed_snapshot_waits_for_a_sign_of_life() -> None:
    rig = leader(1, 1, 1)
    rig.core.compact(meta(rig, 3), 3)
    progress(rig).match_index = NO_INDEX
    rig.core.peer_unreachable("n2", rig.now)
    rig.ready()
    rig.core.snapshot_finished("n2", None, rig.now)
    assert rig.ready().snapshots == []
    for _ in range(2):
        rig.step(AppendReply(rig.core.term, "n2", True, heartbeat=True))
    assert rig.ready().snapshots == ["n2"]


def test_compaction_stays_behind_the_snapshot_and_the_snapshot_behind_the_commit() -> None:
    rig = leader(1, 1)
    with pytest.raises(ValueError, match="compact"):
        rig.core.compact(meta(rig, 1), 2)
    propose(rig, b"a")
    with pytest.raises(ValueError, match="compact"):
        rig.core.compact(meta(rig, 3), 1)
    rig.core.compact(meta(rig, 2), 1)
    rig.core.compact(meta(rig, 2), 0)
    assert rig.core.log.base_index == 1
