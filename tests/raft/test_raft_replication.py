"""The leader: appends, windows, back-tracking, commit rule, snapshots (Raft §5.3, §5.4.2)."""

from __future__ import annotations

import pytest
from raft_rig import HEARTBEAT, TIMEOUT_MAX, Rig, appends, entries, sent

from trioraft.raft import LoadEntries, ProgressState
from trioraft.raft.errors import (
    ConfigurationError,
    EntryTooLargeError,
    InvariantError,
    NotLeaderError,
    OverloadedError,
)
from trioraft.raft.progress import Progress
from trioraft.raft.types import (
    NO_INDEX,
    AppendReply,
    AppendRequest,
    EntryKind,
    Member,
    Proposal,
    Role,
    SnapshotMeta,
    StartElection,
)


def propose(rig: Rig, *data: bytes) -> range:
    return rig.core.propose([Proposal(d) for d in data], rig.now)


def progress(rig: Rig, follower: str = "n2") -> Progress:
    found = rig.core.progress(follower)
    assert found is not None
    return found


def leader(*terms: int, **settings: object) -> Rig:
    """A leader whose followers have its first entry, which is committed."""
    rig = Rig(*terms, **settings)  # type: ignore[arg-type]
    rig.lead()
    for follower in ("n2", "n3"):
        rig.accept(follower)
    rig.settle()
    for follower in ("n2", "n3"):
        rig.accept(follower)  # the append that told it of the commit
    assert rig.core.commit == rig.core.last_index == len(terms) + rig.core.log.base_index + 1
    return rig


def reject(rig: Rig, prev: int, hint: int, hint_term: int = 0, follower: str = "n2") -> None:
    term = rig.core.term
    rig.step(
        AppendReply(term, follower, False, rejected_prev=prev, hint_index=hint, hint_term=hint_term)
    )


@pytest.mark.parametrize("kind", [EntryKind.BLANK, EntryKind.CONFIGURATION])
def test_the_first_entry_is_the_dialects_choice(kind: EntryKind) -> None:
    rig = Rig(1, first_entry=kind)
    rig.lead()
    (entry,) = rig.core.log.cached(1, 2, 100) or []
    data = rig.core.configuration.encode() if kind is EntryKind.CONFIGURATION else b""
    assert (entry.term, entry.index, entry.kind, entry.data) == (2, 1, kind, data)


def test_proposals_that_arrive_together_leave_in_one_append() -> None:
    rig = leader(1)
    assert propose(rig, b"a", b"b") == range(2, 4)
    assert propose(rig, b"c") == range(4, 5)
    ready = rig.ready()
    assert [e.data for e in ready.entries] == [b"a", b"b", b"c"]
    for follower in ("n2", "n3"):
        (request,) = appends(ready, follower)
        assert (request.prev_index, request.prev_term, request.commit) == (1, 2, 1)
        assert [e.data for e in request.entries] == [b"a", b"b", b"c"]


def test_the_leader_counts_itself_when_its_own_disk_has_it() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.accept("n2")
    assert rig.core.commit == 0
    rig.sync()
    assert rig.core.commit == 1


def test_a_majority_of_followers_needs_no_disk_of_the_leader() -> None:
    """Thesis §10.2.1."""
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.accept("n2")
    rig.accept("n3")
    assert rig.core.commit == 1


def test_entries_of_older_terms_are_not_committed_by_counting() -> None:
    """§5.4.2, figure 8."""
    rig = Rig(1, 2, term=3)
    rig.lead()
    rig.accept("n2", 1)
    rig.accept("n3", 1)
    assert rig.core.commit == NO_INDEX
    rig.accept("n2", 2)
    assert rig.core.commit == 2


def test_followers_hear_of_a_commit_with_the_next_append_or_at_once() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.ready()
    rig.sync()
    rig.accept("n2")
    ready = rig.ready()
    assert [(r.commit, r.entries) for r in appends(ready, "n2")] == [(1, ())]
    propose(rig, b"b")
    rig.accept("n3", 1)
    assert [(r.commit, len(r.entries)) for r in appends(rig.ready(), "n3")] == [(1, 1)]


def test_heartbeats_come_at_their_interval_and_claim_what_is_acknowledged() -> None:
    rig = leader(1, 1)
    propose(rig, b"a")
    rig.ready()
    rig.wait(HEARTBEAT)
    beats = [(to, m) for to, m in sent(rig.ready(), AppendRequest) if m.heartbeat]
    assert [(to, m.prev_index, m.prev_term, m.commit) for to, m in beats] == [
        ("n2", 2, 2, 2),
        ("n3", 2, 2, 2),
    ]
    assert rig.core.next_deadline == rig.now + HEARTBEAT


def test_appends_are_cut_by_bytes_and_by_count() -> None:
    rig = leader(max_append_bytes=10, max_append_entries=3)
    propose(rig, b"xxxx", b"xxxx", b"xxxx", b"y" * 50, b"", b"", b"", b"")
    sizes = [[len(e.data) for e in r.entries] for r in appends(rig.ready(), "n2")]
    assert sizes == [[4, 4], [4], [50], [0, 0, 0], [0]]


def test_the_window_bounds_what_is_in_flight() -> None:
    rig = leader(max_inflight_appends=2, max_append_entries=1)
    propose(rig, b"a", b"b", b"c", b"d")
    assert len(appends(rig.ready(), "n2")) == 2
    assert appends(rig.ready(), "n2") == []
    rig.accept("n2", 1)
    (third,) = appends(rig.ready(), "n2")
    assert [e.data for e in third.entries] == [b"c"]
    rig = leader(max_inflight_bytes=10, max_append_entries=1)
    propose(rig, b"x" * 8, b"x" * 8, b"x" * 8)
    assert len(appends(rig.ready(), "n2")) == 2


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


def test_proposals_are_bounded() -> None:
    rig = leader(max_entry_bytes=100, max_uncommitted_bytes=1000)
    with pytest.raises(EntryTooLargeError, match="101 bytes"):
        propose(rig, b"ok", b"x" * 101)
    assert rig.core.last_index == 0
    propose(rig, *[b"x" * 100] * 20)
    with pytest.raises(OverloadedError):
        propose(rig, b"")
    rig.settle()
    rig.accept("n2")
    propose(rig, b"")
    with pytest.raises(ValueError, match="configuration"):
        rig.core.propose([Proposal(b"", kind=EntryKind.CONFIGURATION)], rig.now)
    assert propose(rig) == range(22, 22)


def test_only_leaders_take_proposals_and_reads() -> None:
    rig = Rig(term=1)
    for call in (lambda: propose(rig, b"a"), lambda: rig.core.read_index("r", 0.0)):
        with pytest.raises(NotLeaderError) as caught:
            call()
        assert caught.value.leader is None


def test_a_leader_without_a_majority_steps_down() -> None:
    rig = leader()
    rig.core.read_index("r", rig.now)
    rig.settle()
    start = rig.now
    while rig.role() is Role.LEADER:
        rig.time_out()
        rig.settle()
        assert rig.now <= start + TIMEOUT_MAX
    assert rig.now == pytest.approx(start + TIMEOUT_MAX)
    assert (rig.core.leader_id, rig.core.term) == (None, 1)


def test_any_answer_of_a_majority_keeps_the_leader() -> None:
    rig = leader()
    for _ in range(40):
        rig.time_out()
        rig.settle()
        rig.step(AppendReply(1, "n3", False, heartbeat=True))
    assert rig.role() is Role.LEADER


def test_persisted_reports_must_make_sense() -> None:
    rig = leader()
    propose(rig, b"a")
    ready = rig.ready()
    with pytest.raises(InvariantError, match="only"):
        rig.core.persisted(1, 1, ready.sequence + 1)
    with pytest.raises(InvariantError, match="not in the log"):
        rig.core.persisted(1, 9, ready.sequence)


def test_a_transfer_needs_another_voter() -> None:
    rig = leader(learners=["n4"])
    for target in ("n1", "n4", "n9"):
        with pytest.raises(ConfigurationError):
            rig.core.transfer_leadership(target, rig.now)
    single = Rig(voters=["n1"])
    single.time_out()
    single.settle()
    with pytest.raises(ConfigurationError, match="no other voter"):
        single.core.transfer_leadership(None, single.now)


def test_a_transfer_asks_the_target_once_it_has_everything() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.settle()
    rig.accept("n3")
    assert rig.core.transfer_leadership(None, rig.now) == "n3"
    assert rig.core.transferring_to == "n3"
    assert sent(rig.ready(), StartElection) == [("n3", StartElection(1, "n1", 1, 1))]
    assert sent(rig.ready(), StartElection) == []
    with pytest.raises(NotLeaderError, match="handed to n3"):
        propose(rig, b"b")


def test_members_have_progress_and_nobody_else() -> None:
    rig = leader(learners=["n4"])
    assert progress(rig, "n4").state is ProgressState.PROBE
    assert rig.core.progress("n1") is None
    assert rig.core.progress("n9") is None
    assert rig.core.configuration.member("n4") == Member("n4", "n4")


def test_a_commit_waits_a_moment_for_an_append_to_travel_with() -> None:
    rig = Rig(commit_notice_delay=0.01)
    rig.lead()
    rig.core.propose([Proposal(b"a")], rig.now)
    rig.sync()
    last = rig.core.last_index
    rig.accept("n2", last)
    rig.accept("n3", last)
    assert rig.core.commit == last
    assert not [m for _, m in rig.ready().messages if isinstance(m, AppendRequest)]
    rig.core.propose([Proposal(b"b")], rig.now)
    carried = [m for _, m in rig.ready().messages if isinstance(m, AppendRequest)]
    assert [(len(m.entries), m.commit) for m in carried] == [(1, last), (1, last)]


def test_a_commit_that_finds_no_company_goes_alone() -> None:
    rig = Rig(commit_notice_delay=0.01)
    rig.lead()
    rig.core.propose([Proposal(b"a")], rig.now)
    rig.sync()
    last = rig.core.last_index
    rig.accept("n2", last)
    rig.accept("n3", last)
    rig.ready()
    assert rig.core.next_deadline <= rig.now + 0.01
    rig.wait(0.01)
    alone = [m for _, m in rig.ready().messages if isinstance(m, AppendRequest)]
    assert [(len(m.entries), m.commit) for m in alone] == [(0, last), (0, last)]
