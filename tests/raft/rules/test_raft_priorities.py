"""Priority elections (Ratis's rules), pause and resume, stepping down."""

from __future__ import annotations

import math
import random

import pytest
from raft_group import Group, member
from raft_rig import TIMEOUT_MAX, Rig, append, only_reply, vote

from trioraft.raft import MembershipChange, RaftConfig, RaftCore, RaftLog
from trioraft.raft.errors import ConfigurationError, NotLeaderError
from trioraft.raft.messages import StartElection, VoteReply
from trioraft.raft.types import Configuration, HardState, Role


class Ranked(Rig):
    """n1 has priority 1, n2 2 and n3 0."""

    def __init__(self, *terms: int, pre_vote: bool = True) -> None:
        super().__init__(*terms, priorities=True, pre_vote=pre_vote)
        log = RaftLog()
        log.append(list(self.core.log.cached(0, len(terms), 1 << 20) or ()))
        log.mark_durable(log.last_index)
        self.core = RaftCore(
            node_id="n1",
            config=self.config,
            configuration=Configuration((member("n1", 1), member("n2", 2), member("n3", 0))),
            log=log,
            hard_state=HardState(max(terms, default=0)),
            rng=random.Random(1),
            now=0.0,
        )


@pytest.mark.parametrize(
    ("candidate", "last", "granted"),
    [
        ("n3", (1, 0), False),
        ("n2", (1, 0), True),
        ("n3", (1, 1), True),
        ("n9", (1, 0), True),
    ],
)
@pytest.mark.parametrize("pre", [False, True])
def test_a_voter_prefers_itself_among_equals(
    candidate: str, last: tuple[int, int], granted: bool, pre: bool
) -> None:
    """n9 is not known here: what its priority is, it knows better."""
    rig = Ranked(1)
    rig.step(vote(1 if pre else 2, last, candidate, pre=pre), "v")
    assert only_reply(rig.settle()).granted is granted


def test_a_paused_node_claims_no_precedence() -> None:
    rig = Ranked(1)
    rig.core.pause_elections()
    rig.step(vote(2, (1, 0), "n3"), "v")
    assert only_reply(rig.settle()).granted


def candidate() -> Ranked:
    """n1 has n3's vote, and has heard nothing from n2, whose priority is higher."""
    rig = Ranked(1, pre_vote=False)
    rig.time_out()
    rig.ready()
    rig.sync()
    rig.step(VoteReply(2, "n3", True))
    return rig


def test_a_majority_waits_for_voters_of_higher_priority() -> None:
    rig = candidate()
    assert rig.role() is Role.CANDIDATE
    rig.step(VoteReply(2, "n2", True))
    assert rig.role() is Role.LEADER


def test_a_higher_voter_that_could_lead_refuses_for_all() -> None:
    rig = candidate()
    rig.step(VoteReply(2, "n2", False, last_index=0, last_term=1))
    assert rig.role() is Role.FOLLOWER


def test_a_higher_voter_with_another_log_is_one_vote_of_many() -> None:
    rig = candidate()
    rig.step(VoteReply(2, "n2", False, last_index=5, last_term=1))
    assert rig.role() is Role.LEADER


def test_a_higher_voter_that_cannot_be_asked_is_not_waited_for() -> None:
    rig = candidate()
    rig.core.vote_failed("n2", rig.now)
    assert rig.role() is Role.LEADER


def test_a_late_answer_counts_after_a_failure() -> None:
    rig = Ranked(1, pre_vote=False)
    rig.time_out()
    rig.ready()
    rig.sync()
    rig.core.vote_failed("n2", rig.now)
    rig.step(VoteReply(2, "n2", True))
    assert rig.role() is Role.LEADER


def test_a_failure_to_ask_changes_nothing_for_others() -> None:
    rig = Rig()
    rig.core.vote_failed("n2", rig.now)
    rig.lead()
    rig.core.vote_failed("n3", rig.now)
    assert rig.role() is Role.LEADER


def test_a_silent_higher_voter_costs_one_election_timeout() -> None:
    rig = candidate()
    term = rig.core.term
    rig.time_out()
    assert rig.role() is Role.LEADER
    assert rig.core.term == term


def test_leadership_goes_home_when_priorities_change() -> None:
    group = Group("n1", "n2", "n3", priorities=1)
    group.elect("n1")
    group.change(MembershipChange.update(member("n3", 5)))
    group.run(5)
    assert group.leader == "n3"


def test_a_higher_voter_that_will_not_lead_is_not_asked_all_the_time() -> None:
    group = Group("n1", "n2", "n3", priorities=1)
    group.elect("n1")
    group.cluster.core("n3").pause_elections()
    group.change(MembershipChange.update(member("n3", 5)))
    handing = 0
    for _ in range(160):
        group.run(0.125)
        handing += group.cluster.core("n1").transferring_to is not None
    assert group.leader == "n1"
    assert handing <= 8, "proposals are refused for one minimum timeout in every ten"


def test_with_priorities_only_the_highest_is_handed_to() -> None:
    group = Group("n1", "n2", "n3", priorities=1)
    group.elect("n1")
    group.change(MembershipChange.update(member("n1", 3), member("n3", 2)))
    core = group.cluster.core("n1")
    with pytest.raises(ConfigurationError, match="highest priority, 3"):
        core.transfer_leadership("n3", group.cluster.now)


def test_paused_elections() -> None:
    rig = Rig()
    rig.core.pause_elections()
    assert rig.core.elections_paused
    assert rig.core.next_deadline == math.inf
    rig.wait(100)
    assert rig.role() is Role.FOLLOWER
    rig.core.resume_elections(rig.now)
    rig.wait(TIMEOUT_MAX)
    assert rig.role() is Role.PRE_CANDIDATE


def test_a_paused_node_refuses_a_handover() -> None:
    rig = Rig(1, term=1)
    rig.step(append((1, 0), heartbeat=True), "h")
    rig.settle()
    rig.core.pause_elections()
    rig.step(StartElection(1, "n2", 0, 1), "s")
    assert only_reply(rig.settle()) is False


def test_a_paused_leader_leads() -> None:
    rig = Rig()
    rig.lead()
    rig.core.pause_elections()
    rig.accept("n2")
    rig.wait(0.5)
    assert rig.role() is Role.LEADER
    assert rig.core.next_deadline < math.inf


def test_stepping_down() -> None:
    rig = Rig()
    with pytest.raises(NotLeaderError):
        rig.core.step_down(rig.now)
    rig.lead()
    rig.core.read_index("r", rig.now)
    rig.core.step_down(rig.now)
    assert rig.role() is Role.FOLLOWER
    assert rig.core.term == 1
    assert rig.ready().dropped_reads == ["r"]


def test_settings_that_cannot_work() -> None:
    for settings in (
        {"lease_ratio": 0.0},
        {"lease_ratio": 1.0},
        {"staging_timeout": 0.0},
        {"staging_max_gap": -1},
    ):
        with pytest.raises(ConfigurationError, match=next(iter(settings))):
            RaftConfig(**settings)  # type: ignore[arg-type]
