"""Handovers of leadership that are refused, late, or offered in vain (thesis §3.10)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from leader_rig import leader, propose
from raft_group import Group, member
from raft_node import Packet
from raft_rig import TIMEOUT_MAX, TIMEOUT_MIN, Rig

from trioraft.raft.errors import NotLeaderError
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Role


def handing_over() -> Rig:
    rig = leader()
    rig.core.transfer_leadership("n3", rig.now)
    rig.settle()
    with pytest.raises(NotLeaderError, match="handed to n3"):
        propose(rig, b"a")
    return rig


def test_a_refused_handover_ends_at_once() -> None:
    rig = handing_over()
    rig.core.handover_refused("n3", 1, rig.now)
    assert rig.core.transferring_to is None
    assert rig.core.handover_refused_by == "n3"
    propose(rig, b"a")
    assert rig.role() is Role.LEADER


def test_the_next_handover_forgets_who_refused_the_last() -> None:
    rig = handing_over()
    rig.core.handover_refused("n3", 1, rig.now)
    rig.core.transfer_leadership("n2", rig.now)
    assert rig.core.handover_refused_by is None
    assert rig.core.transferring_to == "n2"


@pytest.mark.parametrize(("target", "term"), [("n2", 1), ("n3", 0), ("n3", 2)])
def test_a_refusal_of_something_else_changes_nothing(target: str, term: int) -> None:
    rig = handing_over()
    rig.core.handover_refused(target, term, rig.now)
    assert rig.core.transferring_to == "n3"
    assert rig.core.handover_refused_by is None


def test_a_target_that_was_not_asked_yet_cannot_refuse() -> None:
    rig = leader()
    propose(rig, b"a")
    rig.core.transfer_leadership("n3", rig.now)
    rig.core.handover_refused("n3", 1, rig.now)
    assert rig.core.transferring_to == "n3"


def test_who_does_not_lead_has_nothing_to_be_refused() -> None:
    rig = Rig()
    rig.core.handover_refused("n3", 0, rig.now)
    assert rig.core.handover_refused_by is None


def test_a_refusal_gives_no_lease_back() -> None:
    """An order to campaign may have been repeated on its way: only the term ends that."""
    rig = leader(lease_reads=True)
    rig.core.transfer_leadership("n3", rig.now)
    rig.settle()
    rig.core.handover_refused("n3", 1, rig.now)
    assert not rig.core.lease_valid(rig.now)


def test_a_removed_leader_whose_heir_refuses_steps_down_at_once() -> None:
    group = Group("n1", "n2", "n3")
    group.elect("n1")
    for heir in ("n2", "n3"):
        group.cluster.core(heir).pause_elections()
    group.change(MembershipChange.remove("n1"))
    group.run(0.5)
    assert group.cluster.core("n1").role is Role.FOLLOWER


def offer_in_vain(
    seconds: float, lose: Callable[[Packet], bool] = lambda packet: False
) -> tuple[float, list[float]]:
    """How long proposals are refused while a better voter is paused, and when it is offered."""
    group = Group("n1", "n2", "n3", priorities=1)
    group.lose = lose
    group.elect("n1")
    group.cluster.core("n3").pause_elections()
    group.change(MembershipChange.update(member("n3", 5)))
    core = group.cluster.core("n1")
    progress = core.progress("n3")
    assert progress is not None
    refused, offers = 0.0, [progress.offer_due]
    for _ in range(round(seconds / 0.125)):
        group.run(0.125)
        refused += 0.125 * (core.transferring_to is not None)
        if progress.offer_due != offers[-1]:
            offers.append(progress.offer_due)
    assert group.leader == "n1"
    return refused, offers


def test_offers_to_a_paused_voter_cost_a_round_trip_and_become_rare() -> None:
    refused, offers = offer_in_vain(400 * TIMEOUT_MAX)
    assert refused == 0.0
    between = [(b - a) / TIMEOUT_MAX for a, b in pairwise(offers)]
    assert [round(pause) for pause in between] == [20, 40, 80, 160, 160]


def test_offers_that_nobody_answers_become_rare() -> None:
    """A paused server of another make says yes and does nothing, or the answer is lost."""
    refused, _ = offer_in_vain(400 * TIMEOUT_MAX, lose=lambda packet: packet.message is False)
    assert 0 < refused <= 6 * TIMEOUT_MIN


def test_a_voter_that_comes_to_be_better_waits_for_nobody_elses_offers() -> None:
    group = Group("n1", "n2", "n3", priorities=1)
    group.elect("n1")
    group.cluster.core("n3").pause_elections()
    group.change(MembershipChange.update(member("n3", 5)))
    group.run(100 * TIMEOUT_MAX)
    group.change(MembershipChange.update(member("n2", 6)))
    group.run(10 * TIMEOUT_MAX)
    assert group.leader == "n2"
