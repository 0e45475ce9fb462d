"""What a host remembers of its acknowledgements, to tell heartbeats from questions."""

from __future__ import annotations

import pytest

from trioraft.protocols import acked
from trioraft.raft.messages import AppendReply, AppendRequest


def asks(term: int, prev_index: int) -> AppendRequest:
    return AppendRequest(term, "n1", prev_index, term, (), -1)


def answers(term: int, match_index: int, *, success: bool = True) -> AppendReply:
    return AppendReply(term, "n2", success, match_index=match_index)


def test_only_what_was_acknowledged_to_this_leader_is_covered() -> None:
    index = acked.AckedIndex()
    assert index.covers(b"g", asks(3, -1))
    assert not index.covers(b"g", asks(3, 0))
    index.note(b"g", answers(3, 5))
    index.note(b"g", answers(3, 4))
    index.note(b"g", answers(3, 9, success=False))
    index.note(b"g", answers(2, 9))
    assert index.covers(b"g", asks(3, 5))
    assert not index.covers(b"g", asks(3, 6))
    assert not index.covers(b"g", asks(4, 5))
    assert not index.covers(b"other", asks(3, 5))
    index.note(b"g", answers(4, 2))
    assert index.covers(b"g", asks(4, 2))
    assert not index.covers(b"g", asks(4, 5))


def test_groups_that_come_and_go_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acked, "_MAX_GROUPS", 3)
    index = acked.AckedIndex()
    for group in (b"a", b"b", b"c", b"d"):
        index.note(group, answers(1, 7))
        index.note(group, answers(1, 8))
    covered = [group for group in (b"a", b"b", b"c", b"d") if index.covers(group, asks(1, 8))]
    assert covered == [b"b", b"c", b"d"]
