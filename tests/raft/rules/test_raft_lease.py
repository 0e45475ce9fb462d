"""Lease reads (thesis §6.4.1): when there is a lease, and that nobody else can lead meanwhile."""

from __future__ import annotations

import pytest
from raft_group import Group
from raft_rig import TIMEOUT_MIN, Rig, append, only_reply, vote

from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import ConfigurationError, NotLeaderError
from trioraft.raft.messages import AppendReply, StartElection, VoteReply
from trioraft.raft.types import Role

LEASE = 0.9 * TIMEOUT_MIN


def leading(**settings: object) -> Rig:
    """n1 leads and has committed its first entry; no heartbeat is acknowledged yet."""
    rig = Rig(lease_reads=True, **settings)
    rig.lead()
    rig.accept("n2")
    rig.settle()
    return rig


def acknowledge(rig: Rig, follower: str, round_number: int) -> None:
    rig.step(AppendReply(rig.core.term, follower, True, round=round_number, heartbeat=True))


def test_a_lease_counts_from_when_the_heartbeat_was_sent() -> None:
    rig = leading()
    assert not rig.core.lease_valid(rig.now)
    sent_at = rig.now
    rig.wait(0.2)
    acknowledge(rig, "n2", 1)
    assert rig.core.lease_valid(sent_at + LEASE - 0.001)
    assert not rig.core.lease_valid(sent_at + LEASE)


def test_with_a_lease_a_read_needs_no_round() -> None:
    rig = leading()
    acknowledge(rig, "n2", 1)
    rig.settle()
    rig.core.read_index("fast", rig.now, lease=True)
    ready = rig.ready()
    assert ready.reads == [(["fast"], rig.core.commit)]
    assert ready.messages == []
    rig.now += LEASE
    rig.core.read_index("slow", rig.now, lease=True)
    assert rig.ready().reads == []


def test_a_read_without_the_option_takes_a_round() -> None:
    rig = leading()
    acknowledge(rig, "n2", 1)
    rig.settle()
    rig.core.read_index("r", rig.now)
    assert rig.ready().reads == []


def test_one_follower_of_five_is_no_quorum() -> None:
    rig = Rig(voters=("n1", "n2", "n3", "n4", "n5"), lease_reads=True, pre_vote=False)
    rig.time_out()
    rig.ready()
    rig.sync()
    for voter in ("n2", "n3"):
        rig.step(VoteReply(rig.core.term, voter, True))
    rig.settle()
    for follower in ("n2", "n3"):
        rig.accept(follower)
    acknowledge(rig, "n2", 1)
    assert not rig.core.lease_valid(rig.now)
    acknowledge(rig, "n4", 1)
    assert rig.core.lease_valid(rig.now)


def test_no_lease_before_the_term_has_committed() -> None:
    rig = Rig(lease_reads=True)
    rig.lead()
    acknowledge(rig, "n2", 1)
    assert not rig.core.lease_valid(rig.now)


def test_no_lease_unless_the_group_keeps_the_promises() -> None:
    rig = Rig()
    rig.lead()
    rig.accept("n2")
    acknowledge(rig, "n2", 1)
    assert not rig.core.lease_valid(rig.now)
    with pytest.raises(ConfigurationError, match="needs check_quorum"):
        RaftConfig(lease_reads=True, check_quorum=False)


def test_followers_have_none() -> None:
    rig = Rig(lease_reads=True)
    assert not rig.core.lease_valid(rig.now)
    with pytest.raises(NotLeaderError):
        rig.core.read_index("r", rig.now, lease=True)


def test_no_lease_during_a_handover_nor_after_one_that_was_asked_for() -> None:
    """StartElection may be under way for any time, and its candidate breaks every promise."""
    rig = leading()
    acknowledge(rig, "n2", 1)
    assert rig.core.lease_valid(rig.now)
    rig.core.transfer_leadership("n3", rig.now)
    assert not rig.core.lease_valid(rig.now)
    rig.accept("n3")
    assert any(isinstance(m, StartElection) for _, m in rig.settle().messages)
    for _ in range(16):
        rig.wait(0.25)
        for follower in ("n2", "n3"):
            acknowledge(rig, follower, 1000)
    assert rig.core.transferring_to is None
    assert rig.role() is Role.LEADER
    assert not rig.core.lease_valid(rig.now)


def test_a_handover_that_was_never_asked_for_costs_no_lease() -> None:
    rig = leading()
    rig.core.transfer_leadership("n3", rig.now)
    for number in range(2, 18):
        rig.wait(0.25)
        acknowledge(rig, "n2", number)
    assert rig.core.transferring_to is None
    assert rig.core.lease_valid(rig.now)


def test_a_very_late_answer_proves_nothing() -> None:
    """The times of old rounds are forgotten; the newest of 64 are known."""
    rig = leading()
    for number in range(2, 100):
        rig.wait(0.25)
        acknowledge(rig, "n3", number)
    acknowledge(rig, "n2", 2)
    progress = rig.core.progress("n2")
    assert progress is not None
    assert progress.acked_at == float("-inf")


def test_a_promise_outlives_the_term_it_was_given_in() -> None:
    """A stray answer with a higher term makes a follower forget its leader, but not its word."""
    rig = Rig(1, term=1, lease_reads=True)
    rig.now = 5.0
    rig.step(append(heartbeat=True), "h")
    rig.settle()
    rig.step(VoteReply(7, "n3", False))
    assert rig.core.leader_id is None
    rig.step(vote(7, (1, 0), "n3"), "v")
    assert not only_reply(rig.settle()).granted
    rig.now += TIMEOUT_MIN
    rig.step(vote(7, (1, 0), "n3"), "v")
    assert only_reply(rig.settle()).granted


def test_a_promise_outlives_a_restart() -> None:
    rig = Rig(1, term=1, lease_reads=True)
    rig.step(vote(2, (1, 0), "n3", pre=True), "p")
    assert not only_reply(rig.settle()).granted
    rig.step(vote(2, (1, 0), "n3"), "v")
    assert not only_reply(rig.settle()).granted
    rig.step(vote(2, (1, 0), "n3", transfer=True), "t")
    assert only_reply(rig.settle()).granted


def test_a_node_that_never_was_here_has_promised_nothing() -> None:
    rig = Rig(lease_reads=True)
    rig.step(vote(1, candidate="n3"), "v")
    assert only_reply(rig.settle()).granted


def test_on_a_wire_that_marks_no_handovers_only_the_old_leader_lets_one_pass() -> None:
    group = Group(
        "n1", "n2", "n3", lease_reads=1, marked_transfers=0, priorities=0, commit_notice_delay=0
    )
    group.elect("n1")
    core = group.cluster.core("n3")
    term = core.term
    core.step(vote(term + 1, (term, 0), "n2", transfer=True), "n2", group.cluster.now)
    group.settle()
    assert core.term == term, "a vote that says it is a handover, as all do, is not trusted"
    group.cluster.core("n1").transfer_leadership("n2", group.cluster.now)
    group.cluster.flush("n1")
    group.settle()
    assert group.leader == "n2"


def test_no_node_campaigns_while_it_is_bound() -> None:
    """Its own vote is promised, too; a timer may have been set to less."""
    rig = Rig(1, term=1, lease_reads=True, pre_vote=False)
    rig.step(append((1, 0), heartbeat=True), "h")
    rig.core._s.timeout = 0.01
    rig.wait(0.5)
    assert rig.role() is Role.FOLLOWER
    rig.wait(TIMEOUT_MIN)
    assert rig.role() is Role.CANDIDATE


def test_a_promise_ends_when_its_timer_does() -> None:
    """`now - heard` may be less than what was added to `heard`: the timer would fire for ever."""
    timeout, heard = 0.2, 1.687231524688534
    assert (heard + timeout) - heard < timeout
    rig = Rig(
        lease_reads=True,
        election_timeout_min=timeout,
        election_timeout_max=0.4,
        heartbeat_interval=0.05,
    )
    rig.now = heard
    rig.step(append(term=1))
    rig.settle()
    rig.core._s.timeout = 0.01  # shortened: it waits for the end of the promise then
    rig.time_out()
    assert rig.core.role is Role.FOLLOWER
    rig.time_out()
    assert rig.core.role is not Role.FOLLOWER
