"""What leaders alone may do, when they cease to be leaders, and to whom they hand over."""

from __future__ import annotations

import pytest
from leader_rig import leader, progress, propose
from raft_rig import TIMEOUT_MAX, Rig, sent

from trioraft.raft import ProgressState
from trioraft.raft.errors import ConfigurationError, InvariantError, NotLeaderError
from trioraft.raft.messages import AppendReply, StartElection
from trioraft.raft.types import Member, Role


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


def test_a_deposed_leader_keeps_what_it_has_written() -> None:
    """A majority may count on its copy, though it does not know that (CCF #5674)."""
    rig = leader()
    propose(rig, b"a", b"b")
    rig.settle()
    rig.step(AppendReply(7, "n2", False))
    rig.settle()
    assert rig.role() is Role.FOLLOWER
    assert rig.core.last_index == 3 - 1
    assert rig.core.log.durable_index == rig.core.last_index
