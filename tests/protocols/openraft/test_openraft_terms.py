"""openraft's terms, which hold a node, and the term of the commit index."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.protocols.openraft.positions import Positions
from trioraft.protocols.openraft.terms import next_term, node_number, pack_term, unpack_term
from trioraft.raft.messages import AppendRequest
from trioraft.raft.types import Entry, EntryKind


def test_order_of_votes_is_the_order_of_integers() -> None:
    pairs = [(0, 0), (0, 7), (1, 0), (1, 2**64 - 1), (2, 0), (2**63 - 1, 3)]
    packed = [pack_term(*pair) for pair in pairs]
    assert packed == sorted(packed)
    assert [unpack_term(term) for term in packed] == pairs


@settings(deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_next_term_is_the_next_number_in_ones_own_name(
    term: int, owner: int, node: int
) -> None:
    following = next_term(pack_term(term, owner), str(node))
    assert unpack_term(following) == (term + 1, node)
    assert following > pack_term(term, owner)


@pytest.mark.parametrize("text", ["", "n1", "-1", "01", "1.0", "²", str(2**64), "9" * 5000])
def test_node_ids_that_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="no node id of openraft"):
        node_number(text)


# ---- the term of the commit index


def run(prev: int, prev_term: int, *entry_terms: int, leader: int = 9) -> AppendRequest:
    entries = [
        Entry(term, prev + 1 + number, EntryKind.WRITE, b"")
        for number, term in enumerate(entry_terms)
    ]
    return AppendRequest(leader, "9", prev, prev_term, entries, -1)


def test_positions_follow_the_requests() -> None:
    known = Positions()
    known.note(run(4, 2, 2, 3, 3))
    assert known.commit(3) == (0, -1)  # before anything that was passed
    assert known.commit(4) == (2, 4)
    assert known.commit(6) == (3, 6)
    assert known.commit(100) == (3, 7)  # no further than what was passed
    known.note(run(7, 3, 5))
    assert known.commit(8) == (5, 8)
    known.note(run(7, 3))  # a heartbeat on the other stream changes nothing
    assert known.commit(8) == (5, 8)


def test_positions_forget_when_the_leader_changes_or_goes_back() -> None:
    known = Positions()
    known.note(run(4, 2, 3))
    known.note(run(9, 8, leader=10))
    assert known.commit(5) == (0, -1)
    assert known.commit(9) == (8, 9)
    known.note(run(2, 1, 2, leader=10))  # too far back to be of use
    assert known.commit(9) == (8, 9)
    known.note(run(5, 2, 2, 2, 7, leader=10))
    assert known.commit(6) == (2, 6)
    assert known.commit(9) == (8, 9)


@settings(deadline=None)
@given(st.data())
def test_positions_are_never_wrong(data: st.DataObject) -> None:
    log = sorted(data.draw(st.lists(st.integers(1, 6), min_size=20, max_size=20)))
    known = Positions()
    for _ in range(data.draw(st.integers(1, 12))):
        prev = data.draw(st.integers(-1, 19))
        count = data.draw(st.integers(0, min(6, 19 - prev)))
        prev_term = log[prev] if prev >= 0 else 0
        request = run(prev, prev_term, *log[prev + 1 : prev + 1 + count])
        known.note(request)
        asked = data.draw(st.integers(-1, 19))
        term, index = known.commit(asked)
        assert index <= asked
        assert term == (log[index] if index >= 0 else 0)
