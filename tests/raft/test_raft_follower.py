"""Followers: consistency check, log repair, commit, order of answers (Raft §5.3, figure 7)."""

from __future__ import annotations

import pytest
from raft_rig import Rig, append, entries, only_reply

from trioraft.raft.errors import InvariantError
from trioraft.raft.messages import AppendReply, AppendRequest, SnapshotReply, SnapshotRequest
from trioraft.raft.types import (
    NO_INDEX,
    Configuration,
    Entry,
    EntryKind,
    Member,
    Role,
    SnapshotMeta,
)

LEADER_LOG = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)  # figure 7, numbered from 0


def terms(rig: Rig) -> tuple[int, ...]:
    log = rig.core.log
    return tuple(log.term_at(i) for i in range(log.base_index + 1, log.last_index + 1))


@pytest.mark.parametrize(
    "log",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
        (),
    ],
    ids="abcdef-",
)
def test_figure_7(log: tuple[int, ...]) -> None:
    """The follower's hint and the leader's rule for it meet within a round per differing term."""
    rig = Rig(*log, term=7)
    prev = len(LEADER_LOG) - 1
    for _attempt in range(4):
        prev_term = LEADER_LOG[prev] if prev >= 0 else 0
        rig.step(append((prev_term, prev), *LEADER_LOG[prev + 1 :], 8, term=8, commit=10), "a")
        reply = only_reply(rig.settle())
        if reply.success:
            break
        assert reply.rejected_prev == prev
        hint = min(reply.hint_index, prev - 1)
        while hint >= 0 and LEADER_LOG[hint] > reply.hint_term:
            hint -= 1
        prev = hint
    assert reply.success
    assert (reply.match_index, rig.core.commit) == (10, 10)
    assert terms(rig) == (*LEADER_LOG, 8)


@pytest.mark.parametrize(
    ("log", "prev", "hint"),
    [
        ((1, 1), (3, 9), (1, 1)),  # too short
        ((1, 1, 2, 2, 2), (4, 4), (2, 3)),  # another term there, none above the leader's
        ((1, 1, 3, 3, 3), (2, 4), (1, 1)),  # a whole term is skipped
        ((), (3, 0), (0, NO_INDEX)),
    ],
)
def test_a_rejection_says_how_far_back_to_go(
    log: tuple[int, ...], prev: tuple[int, int], hint: tuple[int, int]
) -> None:
    rig = Rig(*log, term=5)
    rig.step(append(prev, 5, term=5, round=7), "a")
    reply = only_reply(rig.ready())
    assert not reply.success
    assert (reply.hint_term, reply.hint_index) == hint
    assert (reply.rejected_prev, reply.round, reply.match_index) == (prev[1], 7, NO_INDEX)


def test_entries_are_acknowledged_once_they_are_durable() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1, 1), "a")
    ready = rig.ready()
    assert [e.index for e in ready.entries] == [0, 1]
    assert ready.replies == []
    assert ready.synced_replies == [("a", AppendReply(1, "n1", True, 1))]


def test_duplicates_change_nothing_and_wait_for_the_first_copy() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1, 1), "a")
    rig.ready()
    rig.step(append((0, -1), 1, 1), "b")
    ready = rig.ready()
    assert ready.entries == ()
    assert [token for token, _ in ready.synced_replies] == ["b"]
    rig.sync()
    rig.step(append((0, -1), 1), "c")
    ready = rig.ready()
    assert ready.replies == [("c", AppendReply(1, "n1", True, 0))]
    assert terms(rig) == (1, 1)


def test_an_old_append_does_not_cut_the_log() -> None:
    """§5.3: only a conflict removes entries; requests may arrive late."""
    rig = Rig(1, 1, 1)
    rig.step(append((1, 0), 1), "a")
    assert terms(rig) == (1, 1, 1)
    assert rig.ready().truncated_from is None


def test_a_conflict_replaces_the_suffix() -> None:
    rig = Rig(1, 2, 2, 2)
    rig.step(append((1, 0), 3, term=3), "a")
    ready = rig.ready()
    assert terms(rig) == (1, 3)
    assert (ready.truncated_from, [e.index for e in ready.entries]) == (1, [1])
    assert rig.core.log.durable_index == 0


def test_answers_on_the_entry_stream_keep_their_order_and_heartbeats_overtake() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1), "a")
    rig.ready()
    rig.step(append((1, 5), 1), "gap")
    rig.step(append(heartbeat=True), "h")
    rig.step(append((0, -1)), "empty")
    ready = rig.ready()
    assert [token for token, _ in ready.synced_replies] == ["gap", "empty"]
    assert [token for token, _ in ready.replies] == ["h"]
    rig.sync()
    rig.step(append((1, 5), 1), "gap")
    assert [token for token, _ in rig.ready().replies] == ["gap"]


def test_nothing_is_answered_in_a_term_that_is_not_durable() -> None:
    rig = Rig()
    rig.step(append(term=4, heartbeat=True), "h")
    ready = rig.ready()
    assert ready.replies == []
    assert [token for token, _ in ready.synced_replies] == ["h"]


def test_commit_follows_what_is_known_to_match() -> None:
    """Figure 2: min(leaderCommit, index of last new entry)."""
    rig = Rig(1, 1, 1, term=2)
    rig.step(append((1, 0), term=2, commit=2), "a")
    assert rig.core.commit == 0
    rig.step(append((1, 0), 1, term=2, commit=2), "b")
    assert rig.core.commit == 1
    rig.step(append((0, -1), term=2, commit=0), "late")
    assert rig.core.commit == 1


def test_a_heartbeat_commits_what_its_leader_has_shown_to_match() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1, 1), "a")
    rig.step(append(heartbeat=True, commit=1), "h")
    assert rig.core.commit == 1


def test_what_matched_an_old_leader_is_forgotten_with_it() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1, 1, commit=0), "a")
    rig.step(append(term=2, leader="n3", heartbeat=True, commit=1), "h")
    assert rig.core.commit == 0


def test_heartbeats_claim_nothing_and_cut_nothing() -> None:
    rig = Rig(1, 1)
    rig.step(append((1, 0), term=2, heartbeat=True, round=3), "h")
    expected = AppendReply(2, "n1", True, NO_INDEX, round=3, heartbeat=True)
    assert only_reply(rig.ready()) == expected
    rig.step(append((2, 1), term=2, heartbeat=True), "mismatch")
    reply = only_reply(rig.ready())
    assert (reply.success, reply.heartbeat, terms(rig)) == (False, True, (1, 1))


def test_a_deposed_leader_is_told_the_term() -> None:
    rig = Rig(1, 3)
    rig.step(append((1, 0), 1, term=2), "a")
    assert only_reply(rig.ready()) == AppendReply(3, "n1", False, rejected_prev=0)
    assert rig.core.leader_id is None


@pytest.mark.parametrize(
    "bad",
    [
        AppendRequest(5, "n2", 0, 1, entries(2, 5), 0),  # a gap
        AppendRequest(5, "n2", 0, 1, [*entries(1, 5), *entries(3, 5)], 0),
        AppendRequest(5, "n2", 0, 1, entries(1, 5, 4), 0),  # terms fall
        AppendRequest(5, "n2", 0, 1, entries(1, 6), 0),  # above the leader's term
        AppendRequest(5, "n2", 0, 1, entries(1, 5), 0, heartbeat=True),
        AppendRequest(5, "n2", -2, 0, [], 0),
        AppendRequest(5, "n2", -1, 3, [], 0),
        AppendRequest(5, "n2", 0, 1, [Entry(5, 1, EntryKind.CONFIGURATION, b"?")], 0),
        AppendRequest(5, "n1", 0, 1, [], 0),  # our own
    ],
)
def test_impossible_requests_are_refused_before_anything_changes(bad: AppendRequest) -> None:
    rig = Rig(1)
    with pytest.raises(ValueError, match=r"append|heartbeat|configuration|leader"):
        rig.step(bad, "a")
    assert (rig.core.term, rig.core.leader_id, terms(rig)) == (1, None, (1,))
    assert not rig.core.has_ready()


def test_a_committed_entry_is_never_contradicted() -> None:
    rig = Rig(1, 1, term=1)
    rig.step(append((1, 1), commit=1), "a")
    with pytest.raises(InvariantError, match="committed"):
        rig.step(append((1, 0), 2, term=2), "b")
    rig = Rig(1, 1, term=1)
    rig.step(append((1, 1), commit=1), "a")
    with pytest.raises(InvariantError, match="committed"):
        rig.step(append((2, 0), 2, term=2), "b")


def test_what_is_committed_is_taken_as_matching() -> None:
    rig = Rig(1, 1, 1, base=(4, 1))
    rig.step(append((1, 6), commit=6), "a")
    rig.settle()
    rig.step(append((1, 2), 1, 1, 1, 1, 1, 1), "b")
    assert only_reply(rig.settle()).match_index == 8
    rig.step(append((1, 1), 1), "c")
    assert only_reply(rig.settle()).match_index == 6


def test_a_second_leader_of_a_term_is_refused() -> None:
    """It is a lie or a bug; a node that stopped at it could be stopped by any peer."""
    rig = Rig(term=1)
    rig.step(append(heartbeat=True), "a")
    with pytest.raises(ValueError, match="n3 claims term 1, which is n2's"):
        rig.step(append(heartbeat=True, leader="n3"), "b")
    assert rig.core.leader_id == "n2"
    rig = Rig()
    rig.lead()
    with pytest.raises(ValueError, match="n2 claims term 1, which is n1's"):
        rig.step(append(heartbeat=True), "c")
    assert rig.role() is Role.LEADER


def test_reports_about_overwritten_entries_prove_nothing() -> None:
    """Entry 1 of term 1 is written, replaced, and written again: the first report is void."""
    rig = Rig(1, term=1)
    rig.step(append((1, 0), 1, 1), "a")
    first = rig.ready()
    rig.step(append((1, 0), 2, term=2, leader="n3"), "b")
    second = rig.ready()
    rig.step(append((1, 0), 1, 1, term=3), "c")
    third = rig.ready()
    rig.core.persisted(2, 1, first.sequence)
    assert rig.core.log.durable_index == 0
    rig.core.persisted(1, 2, second.sequence)
    assert rig.core.log.durable_index == 0
    rig.core.persisted(2, 1, third.sequence)
    assert rig.core.log.durable_index == 2


def test_a_configuration_counts_from_the_log_and_goes_with_it() -> None:
    rig = Rig(1, term=1)
    before = rig.core.configuration
    other = Configuration((Member("n1", "x"), Member("n2", "y")))
    request = append((1, 0), 1)
    request.entries = [Entry(1, 1, EntryKind.CONFIGURATION, other.encode())]
    rig.step(request, "a")
    assert rig.core.configuration == other
    assert rig.core.configuration_at(1) == (1, other)
    assert rig.core.configuration_at(0) == (NO_INDEX, before)
    rig.step(append((1, 0), 2, term=2), "b")
    assert rig.core.configuration == before


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
