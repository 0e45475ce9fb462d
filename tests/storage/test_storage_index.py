"""The index of a log against a plain list of entries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trioraft.storage.log.index import LogIndex, Segment

RECORD = 10  # bytes of every record here
STRIDE = 3 * RECORD - 1  # a point at every third record


@pytest.fixture(autouse=True, scope="module")
def _small_stride() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trioraft.storage.log.index.POINT_STRIDE", STRIDE)
        yield


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.index = LogIndex()
        self.index.segments.append(Segment(1, 0))
        self.base = (-1, 0)
        self.log: list[tuple[int, int, int]] = []  # term, segment, offset

    @property
    def last(self) -> int:
        return self.base[0] + len(self.log)

    @rule(count=st.integers(1, 6), newer=st.integers(0, 2))
    def append(self, count: int, newer: int) -> None:
        segment = self.index.segments[-1]
        term = (self.log[-1][0] if self.log else self.base[1]) + newer
        offsets = [segment.size + RECORD * i for i in range(count)]
        first, due = self.last + 1, segment.due
        points = []
        for i, offset in enumerate(offsets):
            if offset >= due:
                points.append((first + i, offset))
                due = offset + STRIDE
        self.index.extend(count, points)
        for i in range(count):
            self.index.terms.append(first + i, term)
        segment.size += RECORD * count
        self.log += [(term, segment.number, offset) for offset in offsets]

    @rule()
    def roll(self) -> None:
        self.index.segments.append(Segment(self.index.segments[-1].number + 1, 0))

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        last = data.draw(st.integers(self.base[0], self.last - 1))
        self.index.cut(last, self.index.term_at(last))
        del self.log[last - self.base[0] :]

    @rule(ahead=st.integers(0, 20), term=st.integers(0, 20))
    def reset(self, ahead: int, term: int) -> None:
        self.base = (self.last + ahead, term)
        self.log = []
        self.index.reset(*self.base)

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        floor = data.draw(st.integers(self.base[0], self.last))
        dropped = {s.number for s in self.index.drop(self.index.droppable(floor))}
        gone = sum(segment in dropped for _, segment, _ in self.log)
        assert gone <= floor - self.base[0]
        if gone:
            self.base = (self.base[0] + gone, self.log[gone - 1][0])
            del self.log[:gone]

    @invariant()
    def same_terms(self) -> None:
        index = self.index
        assert (index.base_index, index.base_term) == self.base
        assert index.last_index == self.last
        terms = [index.term_at(i) for i in range(self.base[0] + 1, self.last + 1)]
        assert terms == [term for term, _, _ in self.log]
        runs = index.terms.runs()
        assert [t for _, t in runs] == [t for i, t in enumerate(terms) if terms[i - 1 : i] != [t]]
        for outside in (self.base[0] - 1, self.last + 1):
            with pytest.raises(IndexError):
                index.term_at(outside)

    @precondition(lambda self: self.log)
    @rule(data=st.data(), budget=st.integers(0, 200))
    def locate(self, data: st.DataObject, budget: int) -> None:
        low = data.draw(st.integers(self.base[0] + 1, self.last))
        high = data.draw(st.integers(low + 1, self.last + 3))
        spans = self.index.locate(low, high, budget)
        assert spans[0].low == low
        reached = low
        for span in spans:
            assert span.low == reached
            assert span.blocks[0][0] <= span.low
            behind = [first for first, _ in span.blocks[1:]] + [span.high]
            for (first, offset), stop in zip(span.blocks, behind, strict=True):
                for index in range(first, stop):
                    place = (span.number, offset + RECORD * (index - first))
                    if place[1] >= span.end and index > low:
                        break  # not read now
                    assert self.log[index - self.base[0] - 1][1:] == place
                    reached = max(reached, index + 1)
            if reached < span.high:
                break
        assert low < reached <= high
        full = sum(span.end - span.blocks[0][1] for span in spans) >= budget
        assert reached == min(high, self.last + 1) or full

    @precondition(lambda self: self.log)
    @rule(budget=st.integers(1, 200), overhead=st.integers(0, 20))
    def newest(self, budget: int, overhead: int) -> None:
        first = self.index.newest(budget, overhead)
        count = self.last + 1 - first
        assert 1 <= count <= len(self.log)
        live = len(self.log) * RECORD == sum(s.size for s in self.index.segments)
        assert not live or count == len(self.log) or count * (RECORD + overhead) >= budget

    @invariant()
    def few_points(self) -> None:
        for segment in self.index.segments:
            assert len(segment.indices) == len(segment.offsets)
            assert all(low < high for low, high in pairwise(segment.indices))
            assert all(low < high for low, high in pairwise(segment.offsets))
            assert segment.is_empty or segment.indices[0] == segment.first


IndexMachine.TestCase.settings = settings(max_examples=100, deadline=None)
TestIndex = IndexMachine.TestCase


def test_cutting_before_the_base_moves_it() -> None:
    """A file whose header says 100, and whose first record cuts the log to 89."""
    index = LogIndex(100, 3)
    index.segments.append(Segment(9, 0))
    index.cut(89, 2)
    assert (index.base_index, index.base_term, index.last_index) == (89, 2, 89)


def test_what_was_cut_is_not_read_for_what_came_after() -> None:
    """Three entries, cut behind the first, one more: a small read must not take the dead second."""
    index = LogIndex()
    index.segments.append(Segment(1, 0))
    index.extend(3, [(0, 0)])
    index.terms.append(0, 1)
    index.segments[-1].size = 3 * RECORD
    index.cut(0, 1)
    index.extend(1, [(1, 3 * RECORD)])
    index.terms.append(1, 2)
    index.segments[-1].size = 4 * RECORD
    (span,) = index.locate(0, 2, 0)
    assert (span.high, span.blocks) == (1, [(0, 0)])
