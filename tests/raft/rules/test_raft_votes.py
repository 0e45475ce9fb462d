"""Who is given a vote, and who is told what instead (Raft §5.2, §5.4.1; thesis §4.2.3)."""

from __future__ import annotations

import pytest
from raft_rig import TIMEOUT_MIN, Rig, append, only_reply, vote

from trioraft.raft.messages import VoteReply
from trioraft.raft.types import HardState, Role


def test_a_vote_is_given_once_per_term_and_is_durable_first() -> None:
    rig = Rig()
    rig.step(vote(3), "a")
    ready = rig.ready()
    assert ready.hard_state == HardState(3, "n2")
    assert ready.replies == []
    assert ready.synced_replies == [("a", VoteReply(3, "n1", True))]
    rig.sync()
    rig.step(vote(3, candidate="n3"), "b")
    assert only_reply(rig.ready()).granted is False
    rig.step(vote(3), "again")
    ready = rig.ready()
    assert ready.hard_state is None
    assert ready.replies == [("again", VoteReply(3, "n1", True))]


def test_a_restarted_voter_remembers_its_vote() -> None:
    rig = Rig(term=3, voted_for="n3")
    rig.step(vote(3), "a")
    assert only_reply(rig.ready()).granted is False


@pytest.mark.parametrize(
    ("last", "granted"),
    [((3, 2), True), ((4, 0), True), ((3, 5), True), ((3, 1), False), ((2, 9), False)],
)
@pytest.mark.parametrize("pre", [True, False])
def test_voters_want_a_log_that_is_not_behind(
    last: tuple[int, int], granted: bool, pre: bool
) -> None:
    """Raft §5.4.1: the later last term wins, then the longer log."""
    rig = Rig(1, 3, 3)
    rig.step(vote(7, last, pre=pre), "a")
    reply = only_reply(rig.ready())
    assert (reply.granted, reply.pre, reply.last_index, reply.last_term) == (granted, pre, 2, 3)


@pytest.mark.parametrize("adopts", [True, False])
def test_whether_a_refused_candidate_moves_the_term_is_the_dialects_choice(adopts: bool) -> None:
    rig = Rig(1, 3, adopt_term_on_reject=adopts)
    rig.step(vote(7, (1, 0)), "a")
    assert only_reply(rig.ready()).granted is False
    assert rig.core.term == (7 if adopts else 3)


def test_a_refusal_does_not_restart_the_timer() -> None:
    rig = Rig(3)
    deadline = rig.core.next_deadline
    rig.now = 0.5
    rig.step(vote(7, (1, 0)), "a")
    assert rig.core.next_deadline == deadline


@pytest.mark.parametrize("pre", [True, False])
def test_voters_that_hear_their_leader_do_not_vote(pre: bool) -> None:
    rig = Rig(term=1)
    rig.step(append(heartbeat=True), "h")
    rig.settle()
    rig.now += TIMEOUT_MIN - 0.01
    rig.step(vote(9, pre=pre, candidate="n3"), "a")
    assert only_reply(rig.settle()) == VoteReply(1, "n1", False, pre=pre, leader="n2")
    rig.now += 0.02
    rig.step(vote(9, pre=pre, candidate="n3"), "b")
    assert only_reply(rig.ready()).granted is True
    assert rig.core.term == (1 if pre else 9)


def test_leaders_are_sticky_too() -> None:
    rig = Rig()
    rig.lead()
    rig.step(vote(9, (9, 9), candidate="n3"), "a")
    assert only_reply(rig.ready()).granted is False
    assert rig.role() is Role.LEADER


def test_without_check_quorum_a_higher_term_deposes() -> None:
    rig = Rig(check_quorum=False)
    rig.lead()
    rig.step(vote(9, (9, 9), candidate="n3"), "a")
    assert only_reply(rig.ready()).granted is True
    assert rig.role() is Role.FOLLOWER


def test_a_handover_passes_the_lease() -> None:
    rig = Rig(term=1)
    rig.step(append(heartbeat=True), "h")
    rig.settle()
    rig.step(vote(2, candidate="n3", transfer=True), "a")
    assert only_reply(rig.ready()).granted is True


@pytest.mark.parametrize("pre", [True, False])
def test_candidates_of_an_older_term_are_told_the_new_one(pre: bool) -> None:
    rig = Rig(term=5)
    rig.step(vote(4, (4, 9), pre=pre), "a")
    assert only_reply(rig.ready()) == VoteReply(5, "n1", False, pre=pre)
