"""The leader: appends, windows, heartbeats, the commit rule (Raft §5.3, §5.4.2)."""

from __future__ import annotations

import pytest
from leader_rig import leader, propose
from raft_rig import HEARTBEAT, Rig, appends, sent

from trioraft.raft.errors import EntryTooLargeError, OverloadedError
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import NO_INDEX, EntryKind, Proposal


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
