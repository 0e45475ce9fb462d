"""What followers refuse, and what proves nothing to them (Raft §5.3)."""

from __future__ import annotations

import pytest
from raft_rig import Rig, append, entries, only_reply, terms

from trioraft.raft.errors import InvariantError
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import (
    Entry,
    EntryKind,
    Role,
)


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
