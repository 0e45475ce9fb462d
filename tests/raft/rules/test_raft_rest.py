"""Groups at rest: when a core may rest, what wakes it, and that nothing is late for it."""

from __future__ import annotations

import math

import pytest
from raft_rig import HEARTBEAT, TIMEOUT_MAX, TIMEOUT_MIN, Rig, append, only_reply, sent, vote

from trioraft.raft import MembershipChange
from trioraft.raft.messages import AppendReply, AppendRequest, VoteReply
from trioraft.raft.types import Member, Proposal, Role


def idle_leader(**settings: object) -> Rig:
    """n1 leads; n2 and n3 have everything and know that it is committed."""
    rig = Rig(**settings)
    rig.lead()
    for follower in ("n2", "n3"):
        rig.accept(follower)
    rig.settle()
    for follower in ("n2", "n3"):
        rig.accept(follower, commit=rig.core.commit)
    rig.settle()
    return rig


def idle_follower() -> Rig:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1, commit=0), "a")
    rig.settle()
    return rig


def test_a_leader_at_rest_is_silent() -> None:
    rig = idle_leader()
    assert rig.core.rest_possible()
    assert rig.core.rest(rig.now)
    assert rig.core.resting
    assert rig.core.next_deadline == math.inf
    soft = rig.settle().soft
    assert soft is not None
    assert soft.resting, "the runtime is told"
    rig.wait(1000)
    assert not rig.core.has_ready()
    assert rig.role() is Role.LEADER


def test_a_follower_at_rest_does_not_campaign() -> None:
    rig = idle_follower()
    assert rig.core.rest(rig.now)
    rig.wait(1000)
    assert rig.role() is Role.FOLLOWER
    assert rig.core.next_deadline == math.inf


def test_a_leader_does_not_rest_before_everybody_knows() -> None:
    rig = Rig()
    rig.lead()
    assert not rig.core.rest_possible()
    rig.accept("n2")
    rig.accept("n3", match=-1)
    rig.settle()
    rig.accept("n2", commit=0)
    assert not rig.core.rest_possible(), "n3 has nothing"
    rig.accept("n3")
    assert not rig.core.rest_possible(), "n3 does not know what is committed"
    rig.accept("n3", commit=0)
    assert rig.core.rest_possible()


def test_those_who_are_away_are_not_waited_for_but_do_not_count() -> None:
    rig = Rig()
    rig.lead()
    rig.accept("n2")
    rig.settle()
    rig.accept("n2", commit=0)
    assert not rig.core.rest_possible()
    assert rig.core.rest_possible(away=["n3"])
    assert not rig.core.rest_possible(away=["n2", "n3"])


@pytest.mark.parametrize("what", ["write", "read", "handover", "change", "disk"])
def test_no_rest_while_something_is_under_way(what: str) -> None:
    rig = idle_leader()
    if what in ("write", "disk"):
        rig.core.propose([Proposal(b"x")], rig.now)
        rig.ready()
    elif what == "read":
        rig.core.read_index("r", rig.now)
    elif what == "handover":
        rig.core.transfer_leadership("n2", rig.now)
    else:
        rig.core.change_membership(MembershipChange.add((Member("n4", "a"),)), "c", rig.now)
    assert not rig.core.rest(rig.now)
    assert not rig.core.resting


def test_candidates_and_followers_without_leader_do_not_rest() -> None:
    rig = Rig()
    assert not rig.core.rest(rig.now)
    rig.time_out()
    assert not rig.core.rest(rig.now)


def test_a_follower_with_uncommitted_entries_does_not_rest() -> None:
    rig = Rig(term=1)
    rig.step(append((0, -1), 1), "a")
    rig.settle()
    assert not rig.core.rest(rig.now)


@pytest.mark.parametrize("what", ["write", "read", "handover", "change", "wake", "vote"])
def test_what_wakes_a_leader(what: str) -> None:
    rig = idle_leader()
    rig.core.rest(rig.now)
    rig.now += 100.0
    if what == "write":
        rig.core.propose([Proposal(b"x")], rig.now)
    elif what == "read":
        rig.core.read_index("r", rig.now)
    elif what == "handover":
        rig.core.transfer_leadership("n2", rig.now)
    elif what == "change":
        rig.core.change_membership(MembershipChange.remove("n3"), "c", rig.now)
    elif what == "vote":
        rig.step(vote(1, (1, 0), pre=True), "v")
    else:
        rig.core.wake(rig.now)
    assert not rig.core.resting
    rig.core.tick(rig.now)
    assert sent(rig.ready(), AppendRequest), "its followers hear of it at once"
    rig.wait(TIMEOUT_MAX / 2)
    assert rig.role() is Role.LEADER, "nobody is late for what was not expected"
    rig.wait(TIMEOUT_MAX)
    assert rig.role() is Role.FOLLOWER, "now they are"


def test_answers_that_were_under_way_wake_nobody() -> None:
    rig = idle_leader()
    rig.core.rest(rig.now)
    rig.step(AppendReply(1, "n2", True, commit=0, round=1, heartbeat=True))
    assert rig.core.resting
    rig.step(AppendReply(1, "n2", False, rejected_prev=0, heartbeat=True))
    assert not rig.core.resting, "but a refusal is news"


def test_a_woken_follower_waits_a_whole_timeout_and_stays_with_its_leader() -> None:
    rig = idle_follower()
    rig.core.rest(rig.now)
    rig.now += 100.0
    rig.step(vote(1, (1, 0), "n3", pre=True), "v")
    assert not rig.core.resting
    assert not only_reply(rig.settle()).granted
    assert rig.core.next_deadline >= rig.now + TIMEOUT_MIN
    rig.now += TIMEOUT_MIN
    rig.step(vote(1, (1, 0), "n3", pre=True), "v")
    assert only_reply(rig.settle()).granted


def test_a_heartbeat_wakes_a_follower() -> None:
    rig = idle_follower()
    rig.core.rest(rig.now)
    rig.now += 100.0
    rig.step(append(heartbeat=True), "h")
    assert not rig.core.resting
    assert rig.core.next_deadline < math.inf


def test_rest_ends_a_lease_in_time() -> None:
    rig = idle_leader(lease_reads=True)
    rig.step(AppendReply(1, "n2", True, commit=0, round=1, heartbeat=True))
    assert rig.core.lease_valid(rig.now)
    rig.core.rest(rig.now)
    rig.now += TIMEOUT_MIN
    assert not rig.core.lease_valid(rig.now)
    rig.core.read_index("r", rig.now, lease=True)
    assert rig.ready().reads == []


def test_waking_who_is_awake_changes_nothing() -> None:
    rig = idle_leader()
    due = rig.core.next_deadline
    rig.now += HEARTBEAT / 2
    rig.core.wake(rig.now)
    assert rig.core.next_deadline == due


# --- groups whose elections take turns


def test_a_group_may_begin_at_rest_and_stands_at_once_when_it_is_woken() -> None:
    rig = Rig()
    assert rig.core.rest_leaderless(rig.now)
    rig.wait(1000)
    assert rig.role() is Role.FOLLOWER
    rig.core.wake(rig.now)
    assert rig.core.next_deadline <= rig.now + HEARTBEAT
    rig.time_out()
    assert rig.role() is Role.PRE_CANDIDATE


def test_a_pre_candidate_that_finds_no_votes_may_rest_a_candidate_not() -> None:
    rig = Rig()
    rig.time_out()
    assert rig.role() is Role.PRE_CANDIDATE
    assert rig.core.rest_leaderless(rig.now)
    assert rig.role() is Role.FOLLOWER
    rig.core.wake(rig.now)
    rig.time_out()
    rig.step(VoteReply(rig.core.term, "n2", True, pre=True))
    assert rig.role() is Role.CANDIDATE
    assert not rig.core.rest_leaderless(rig.now)


def test_a_known_leader_keeps_a_group_from_resting_leaderless() -> None:
    assert not idle_follower().core.rest_leaderless(0.0)
    assert not idle_leader().core.rest_leaderless(0.0)


def test_whether_a_vote_could_be_had_is_answered_at_rest() -> None:
    rig = Rig()
    rig.core.rest_leaderless(rig.now)
    rig.wait(TIMEOUT_MAX)
    rig.step(vote(0, pre=True), "a")
    assert only_reply(rig.settle()).granted
    assert rig.core.resting
    rig.step(vote(1), "a")
    assert only_reply(rig.settle()).granted
    assert not rig.core.resting, "it waits for this candidate now"
    assert rig.core.next_deadline >= rig.now + TIMEOUT_MIN


def test_a_leader_whose_server_is_gone_is_not_waited_for() -> None:
    rig = idle_follower()
    rig.core.rest(rig.now)
    rig.wait(TIMEOUT_MAX)
    rig.core.leader_gone()
    rig.step(vote(1, (1, 0), candidate="n3", pre=True), "a")
    assert only_reply(rig.settle()).granted
    assert rig.core.resting
    rig.core.wake(rig.now)
    assert rig.core.next_deadline <= rig.now + HEARTBEAT


def test_a_leader_that_was_heard_from_lately_is_kept_though_its_server_seems_gone() -> None:
    rig = idle_follower()
    rig.core.rest(rig.now)
    rig.core.leader_gone()  # at once: somebody may hold a lease on this node's promise
    rig.step(vote(1, (1, 0), candidate="n3", pre=True), "a")
    assert not only_reply(rig.settle()).granted


def test_one_that_is_woken_by_a_message_does_not_hurry() -> None:
    rig = idle_follower()
    rig.core.rest(rig.now)
    rig.wait(1000)
    rig.step(vote(1, (1, 0), candidate="n3", pre=True), "a")
    assert not only_reply(rig.settle()).granted, "its leader counts as alive while it wakes up"
    assert rig.core.next_deadline >= rig.now + TIMEOUT_MIN


def test_what_an_election_after_rest_may_take_covers_the_timer() -> None:
    """The host lets it be over before it puts the group to rest again (seed 392619042077)."""
    assert Rig().core.election_time == 0.0, "with pre-votes it begins almost at once"
    rig = Rig(pre_vote=False, adopt_term_on_reject=False, behind_delay=100.0)
    rig.time_out()
    assert rig.role() is Role.CANDIDATE
    rig.settle()
    assert rig.core.next_deadline <= rig.now + rig.core.election_time
    for voter in ("n2", "n3"):  # both have more in their logs
        rig.step(VoteReply(rig.core.term, voter, False, last_index=9, last_term=rig.core.term))
    assert rig.role() is Role.FOLLOWER
    assert rig.core.rest_leaderless(rig.now)
    rig.core.wake(rig.now)
    assert rig.core.next_deadline >= rig.now + 100.0, "it lets the others go first"
    assert rig.core.next_deadline <= rig.now + rig.core.election_time
