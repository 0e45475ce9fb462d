"""Elections: Raft §5.2, §5.4.1; pre-vote and stickiness, thesis §9.6 and §4.2.3."""

from __future__ import annotations

import math

import pytest
from raft_rig import HEARTBEAT, TIMEOUT_MAX, TIMEOUT_MIN, Rig, append, only_reply, sent, vote

from trioraft.raft.errors import InvariantError
from trioraft.raft.messages import AppendReply, AppendRequest, StartElection, VoteReply, VoteRequest
from trioraft.raft.types import HardState, Role


def test_timeouts_are_random_and_within_bounds() -> None:
    rig = Rig(pre_vote=False)
    waits = []
    for _ in range(50):
        before = rig.now
        rig.time_out()
        waits.append(rig.now - before)
    assert all(TIMEOUT_MIN - 1e-9 <= wait <= TIMEOUT_MAX + 1e-9 for wait in waits)
    assert max(waits) - min(waits) > 0.5


def test_a_leader_that_is_heard_keeps_followers_quiet() -> None:
    rig = Rig(term=1)
    for _ in range(20):
        rig.step(append(heartbeat=True))
        rig.wait(TIMEOUT_MIN - 0.01)
    assert rig.role() is Role.FOLLOWER
    assert rig.core.leader_id == "n2"


def test_pre_candidates_ask_at_the_current_term_and_write_nothing() -> None:
    rig = Rig(1, 2, term=5)
    rig.time_out()
    ready = rig.ready()
    assert rig.role() is Role.PRE_CANDIDATE
    assert ready.hard_state is None
    expected = VoteRequest(5, "n1", 1, 2, pre=True)
    assert ready.messages == [("n2", expected), ("n3", expected)]


def test_candidates_are_heard_of_once_their_own_vote_is_durable() -> None:
    rig = Rig(1, term=5)
    rig.time_out()
    rig.ready()
    rig.step(VoteReply(5, "n3", True, pre=True))
    ready = rig.ready()
    assert ready.hard_state == HardState(6, "n1")
    assert ready.messages == []
    assert ready.synced_messages == [(n, VoteRequest(6, "n1", 0, 1)) for n in ("n2", "n3")]


def test_a_vote_before_the_own_is_durable_does_not_elect() -> None:
    rig = Rig(pre_vote=False)
    rig.time_out()
    rig.ready()
    rig.step(VoteReply(1, "n2", True))
    assert rig.role() is Role.CANDIDATE
    rig.sync()
    assert rig.role() is Role.LEADER


def test_a_single_voter_wins_when_its_vote_is_durable() -> None:
    rig = Rig(voters=["n1"])
    rig.time_out()
    assert rig.role() is Role.CANDIDATE
    rig.ready()
    rig.sync()
    assert rig.role() is Role.LEADER
    rig.settle()
    assert rig.core.commit == 0


def test_learners_and_strangers_never_campaign() -> None:
    for rig in (Rig(voters=["n2"], learners=["n1"]), Rig(voters=["n2", "n3"])):
        assert rig.core.next_deadline == math.inf
        rig.wait(100)
        assert rig.role() is Role.FOLLOWER


def test_the_leader_announces_itself_at_once() -> None:
    rig = Rig(1)
    rig.time_out()
    rig.step(VoteReply(1, "n2", True, pre=True))
    rig.ready()
    rig.sync()
    rig.step(VoteReply(2, "n2", True))
    kinds = [(to, m.heartbeat) for to, m in sent(rig.ready(), AppendRequest)]
    assert kinds == [("n2", True), ("n3", True), ("n2", False), ("n3", False)]
    assert rig.core.next_deadline == pytest.approx(rig.now + HEARTBEAT)


def test_a_lost_election_ends_the_candidacy() -> None:
    rig = Rig(pre_vote=False)
    rig.time_out()
    rig.settle()
    rig.step(VoteReply(1, "n2", False))
    assert rig.role() is Role.CANDIDATE
    rig.step(VoteReply(1, "n3", False))
    assert rig.role() is Role.FOLLOWER


def test_votes_of_other_elections_are_not_counted() -> None:
    rig = Rig(pre_vote=False)
    rig.time_out()
    rig.settle()
    rig.time_out()
    rig.settle()
    assert rig.core.term == 2
    for reply in (
        VoteReply(1, "n2", True),
        VoteReply(2, "n2", True, pre=True),
        VoteReply(2, "n9", True),
    ):
        rig.step(reply)
    assert rig.role() is Role.CANDIDATE


def test_a_repeated_vote_counts_once() -> None:
    rig = Rig(voters=["n1", "n2", "n3", "n4", "n5"], pre_vote=False)
    rig.time_out()
    rig.settle()
    rig.step(VoteReply(1, "n2", True))
    rig.step(VoteReply(1, "n2", True))
    assert rig.role() is Role.CANDIDATE


@pytest.mark.parametrize("message", [VoteReply(9, "n2", False), AppendReply(9, "n2", False)])
def test_a_higher_term_in_an_answer_deposes(message: VoteReply | AppendReply) -> None:
    rig = Rig()
    rig.lead()
    rig.step(message)
    assert (rig.core.role, rig.core.term, rig.core.leader_id) == (Role.FOLLOWER, 9, None)
    assert rig.ready().hard_state == HardState(9, None)


def test_candidates_follow_the_leader_of_their_term() -> None:
    rig = Rig(pre_vote=False)
    rig.time_out()
    rig.settle()
    rig.step(append(heartbeat=True), "h")
    assert (rig.core.role, rig.core.leader_id) == (Role.FOLLOWER, "n2")


@pytest.mark.parametrize(
    "request_",
    [
        StartElection(1, "n3", 0, 1),  # not the leader
        StartElection(2, "n2", 0, 1),  # of another term
        StartElection(1, "n2", 1, 1),  # has more than we have
    ],
)
def test_start_election_is_refused_if_it_is_not_our_turn(request_: StartElection) -> None:
    rig = Rig(1)
    rig.step(append((1, 0), heartbeat=True), "h")
    rig.settle()
    rig.step(request_, "s")
    assert rig.ready().replies == [("s", False)]
    assert rig.role() is Role.FOLLOWER


def test_start_election_skips_the_pre_vote() -> None:
    rig = Rig(1)
    rig.step(append((1, 0), heartbeat=True), "h")
    rig.settle()
    rig.step(StartElection(1, "n2", 0, 1), "s")
    ready = rig.ready()
    assert ready.synced_replies == [("s", True)]
    assert ready.synced_messages[0] == ("n2", VoteRequest(2, "n1", 0, 1, transfer=True))


def test_next_term_must_grow() -> None:
    rig = Rig(pre_vote=False, next_term=lambda term, _node: term)
    with pytest.raises(InvariantError, match="next_term"):
        rig.time_out()


def test_a_restart_between_a_snapshot_and_its_term_takes_the_term() -> None:
    rig = Rig(base=(9, 4), term=3, voted_for="n3")
    assert rig.core.term == 4
    assert rig.ready().hard_state == HardState(4, None)


def test_a_log_above_the_stored_term_is_refused() -> None:
    with pytest.raises(InvariantError, match="stored term"):
        Rig(1, 4, term=3)


def test_a_candidate_that_a_longer_log_refused_lets_others_go_first() -> None:
    """openraft's rule: without it a stale node can win every race to the next ballot."""
    rig = Rig(1, pre_vote=False, behind_delay=10.0)
    rig.time_out()
    rig.sync()
    refused = rig.now
    rig.step(VoteReply(rig.core.term, "n2", False, last_index=5, last_term=1))
    rig.step(VoteReply(rig.core.term, "n3", False, last_index=0, last_term=1))
    assert rig.core.next_deadline >= refused + 10.0
    other = Rig(1, pre_vote=False, behind_delay=10.0)
    other.time_out()
    other.sync()
    other.step(VoteReply(other.core.term + 1, "n3", False, last_index=0, last_term=1))
    assert other.core.next_deadline <= other.now + TIMEOUT_MAX


def test_a_vote_for_another_does_not_end_the_wait() -> None:
    """Two short logs that elect each other in turn would keep the longer one from its turn."""
    rig = Rig(1, pre_vote=False, behind_delay=10.0)
    rig.time_out()
    rig.sync()
    rig.step(VoteReply(rig.core.term, "n2", False, last_index=5, last_term=1))
    rig.step(vote(rig.core.term + 1, (1, 0), "n3"), "v")
    assert only_reply(rig.settle()).granted
    assert rig.core.next_deadline >= rig.now + 10.0
