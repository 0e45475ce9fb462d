"""The leader finds out what a follower has: probes, hints, answers that are lost or late."""

from __future__ import annotations

import pytest
from leader_rig import leader, progress, propose, reject
from raft_rig import Rig, appends

from trioraft.raft import ProgressState
from trioraft.raft.messages import AppendReply
from trioraft.raft.types import NO_INDEX


def test_probing_is_one_append_at_a_time() -> None:
    rig = Rig(1, 1, max_append_entries=1)
    rig.lead()
    assert progress(rig).state is ProgressState.PROBE
    propose(rig, b"a")
    assert appends(rig.ready(), "n2") == []
    rig.accept("n2", 2)
    assert progress(rig).state is ProgressState.REPLICATE
    assert [r.prev_index for r in appends(rig.ready(), "n2")] == [2]


def test_a_hint_skips_a_whole_term() -> None:
    rig = Rig(1, 1, 3, 3, 3, term=4)
    rig.lead()
    reject(rig, 4, 3, 2)
    (request,) = appends(rig.ready(), "n2")
    assert (request.prev_index, request.prev_term) == (1, 1)


def test_without_hints_the_steps_back_double() -> None:
    rig = Rig(*[1] * 40, term=4)
    rig.lead()
    prevs = []
    prev = 39
    while prev > 0:
        reject(rig, prev, prev - 1)
        (request,) = appends(rig.ready(), "n2")
        prev = request.prev_index
        prevs.append(prev)
    assert prevs == [38, 36, 32, 24, 8, -1]


def test_a_follower_that_is_ahead_is_probed_where_it_says() -> None:
    """Ratis answers INCONSISTENCY with a higher next index for what it has committed."""
    rig = Rig(1, 1, 1, 1)
    rig.lead()
    reject(rig, 3, 0)
    assert [r.prev_index for r in appends(rig.ready(), "n2")] == [0]
    reject(rig, 0, 2)
    assert [r.prev_index for r in appends(rig.ready(), "n2")] == [2]


def test_a_lost_append_is_found_by_the_rejection_of_the_next() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    propose(rig, b"b")
    rig.ready()
    reject(rig, 1, 0, 1)
    (request,) = appends(rig.ready(), "n2")
    assert [e.data for e in request.entries] == [b"a", b"b"]


def test_late_answers_change_nothing() -> None:
    rig = leader(1, 1)
    match = progress(rig).match_index
    reject(rig, match, 0, 1)
    rig.accept("n2", 0)
    rig.step(AppendReply(1, "n2", True, 1))
    rig.step(AppendReply(rig.core.term, "n9", True, 0))
    assert (progress(rig).match_index, progress(rig).state) == (match, ProgressState.REPLICATE)
    assert not rig.core.has_ready()


def test_a_probe_is_not_repeated_for_an_answer_to_an_earlier_one() -> None:
    rig = Rig(1, 1, 1)
    rig.lead()
    reject(rig, 2, 1, 1)
    assert [r.prev_index for r in appends(rig.ready(), "n2")] == [1]
    reject(rig, 2, 1, 1)
    assert appends(rig.ready(), "n2") == []


def test_a_follower_cannot_have_more_than_its_leader() -> None:
    rig = leader()
    with pytest.raises(ValueError, match="claims index 7"):
        rig.accept("n2", 7)


def test_heartbeat_answers_claim_nothing() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.settle()
    rig.step(AppendReply(1, "n2", True, 1, heartbeat=True))
    assert progress(rig).match_index == 0


def test_a_lost_stream_sends_again_from_what_is_acknowledged() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.core.peer_unreachable("n2", rig.now)
    (request,) = appends(rig.ready(), "n2")
    assert [e.data for e in request.entries] == [b"a"]
    assert len(progress(rig).inflight) == 0


def test_silence_on_the_entry_stream_is_noticed_by_heartbeats() -> None:
    """Nothing answers the append: after a whole heartbeat a bare one asks where the follower is."""
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    beat = AppendReply(1, "n2", True, round=1, heartbeat=True)
    rig.step(beat)
    assert appends(rig.ready(), "n2") == []
    rig.step(beat)
    (request,) = appends(rig.ready(), "n2")
    assert (request.prev_index, request.entries) == (1, ())


def test_a_bare_probe_that_proves_nothing_is_followed_by_entries() -> None:
    """Ratis answers an empty append before the disk has what precedes it, and so claims nothing.

    Seed 156 of the whole-stack simulation: a follower behind a snapshot was asked bare for ever.
    """
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.core.peer_unreachable("n2", rig.now)
    rig.ready()
    beat = AppendReply(1, "n2", True, round=1, heartbeat=True)
    for _ in range(2):
        rig.step(beat)
    (bare,) = appends(rig.ready(), "n2")
    assert bare.entries == ()
    rig.step(AppendReply(1, "n2", True, match_index=NO_INDEX))
    assert appends(rig.ready(), "n2") == []
    for _ in range(2):
        rig.step(beat)
    (full,) = appends(rig.ready(), "n2")
    assert [e.data for e in full.entries] == [b"a"]


def test_a_follower_that_has_everything_is_proved_by_the_last_entry() -> None:
    """A member that was removed and is added again, with nothing written in between."""
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.core.peer_unreachable("n2", rig.now)
    rig.core._s.leadership.followers["n2"].next_index = rig.core.last_index + 1  # type: ignore[union-attr]
    (bare,) = appends(rig.ready(), "n2")
    assert bare.entries == ()
    rig.step(AppendReply(1, "n2", True, match_index=NO_INDEX))
    rig.ready()
    for _ in range(2):
        rig.step(AppendReply(1, "n2", True, round=1, heartbeat=True))
    (full,) = appends(rig.ready(), "n2")
    assert [e.data for e in full.entries] == [b"a"]
