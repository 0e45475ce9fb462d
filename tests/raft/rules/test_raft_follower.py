"""Followers: consistency check, log repair, commit, order of answers (Raft §5.3, figure 7)."""

from __future__ import annotations

import pytest
from raft_rig import Rig, append, only_reply, terms

from trioraft.raft.messages import AppendReply
from trioraft.raft.types import (
    NO_INDEX,
    Configuration,
    Entry,
    EntryKind,
    Member,
)

LEADER_LOG = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)  # figure 7, numbered from 0


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


def test_what_is_committed_is_taken_as_matching() -> None:
    rig = Rig(1, 1, 1, base=(4, 1))
    rig.step(append((1, 6), commit=6), "a")
    rig.settle()
    rig.step(append((1, 2), 1, 1, 1, 1, 1, 1), "b")
    assert only_reply(rig.settle()).match_index == 8
    rig.step(append((1, 1), 1), "c")
    assert only_reply(rig.settle()).match_index == 6


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
