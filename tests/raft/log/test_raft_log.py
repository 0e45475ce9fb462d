"""The log's bookkeeping against a plain list of entries."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trioraft.raft import RaftLog
from trioraft.raft.errors import InvariantError
from trioraft.raft.log import COPIES, ENTRY_OVERHEAD
from trioraft.raft.types import NO_INDEX, Configuration, Entry, EntryKind, Member


def entries(first: int, *terms: int, data: bytes = b"0123456789") -> list[Entry]:
    return [Entry(t, i, EntryKind.WRITE, data) for i, t in enumerate(terms, first)]


def log_of(*terms: int, base: tuple[int, int] = (NO_INDEX, 0)) -> RaftLog:
    log = RaftLog(*base)
    log.append(entries(base[0] + 1, *terms))
    return log


class LogMachine(RuleBasedStateMachine):
    """Every operation in every order; a list of entries is the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 6 * (ENTRY_OVERHEAD + 10 * COPIES)
        self.log = RaftLog(max_cached_bytes=self.limit)
        self.base = (NO_INDEX, 0)
        self.truth: list[Entry] = []
        self.durable = NO_INDEX

    @property
    def last(self) -> int:
        return self.base[0] + len(self.truth)

    @rule(rises=st.lists(st.integers(0, 2), min_size=1, max_size=4))
    def append(self, rises: list[int]) -> None:
        term = self.truth[-1].term if self.truth else max(self.base[1], 1)
        fresh: list[Entry] = []
        for rise in rises:
            term += rise
            fresh += entries(self.last + 1 + len(fresh), term)
        self.log.append(fresh)
        self.truth += fresh

    @precondition(lambda self: self.truth)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.base[0] + 1, self.last + 1))
        self.log.truncate(index)
        del self.truth[index - self.base[0] - 1 :]
        self.durable = min(self.durable, self.last)

    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.base[0], self.last))
        self.log.mark_durable(index)
        self.durable = max(self.durable, index)

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.base[0], self.last))
        if index > self.base[0]:
            kept = index - self.base[0]
            self.base = (index, self.truth[kept - 1].term)
            del self.truth[:kept]
        self.log.compact(index)
        self.durable = max(self.durable, index)

    @rule(ahead=st.integers(0, 3))
    def reset(self, ahead: int) -> None:
        term = self.truth[-1].term if self.truth else self.base[1]
        self.base = (self.last + ahead, term + 1)
        self.truth = []
        self.durable = self.base[0]
        self.log.reset(*self.base)

    @invariant()
    def terms_agree(self) -> None:
        log = self.log
        assert (log.base_index, log.base_term) == self.base
        assert (log.last_index, log.durable_index) == (self.last, self.durable)
        assert log.last_term == (self.truth[-1].term if self.truth else self.base[1])
        known = dict([self.base, *((e.index, e.term) for e in self.truth)])
        for index, term in known.items():
            assert log.term_at(index) == term
            assert log.matches(index, term)
            assert not log.matches(index, term + 1)
        for index in (self.base[0] - 1, self.last + 1):
            assert not log.matches(index, 0)
            with pytest.raises(IndexError):
                log.term_at(index)
        for term in range(self.base[1], log.last_term + 2):
            for index in known:
                fitting = [i for i, t in known.items() if i <= index and t <= term]
                assert log.last_at_most(index, term) == max(fitting)

    @invariant()
    def cache_agrees(self) -> None:
        log = self.log
        first = log.cached_from
        cached = self.truth[first - self.base[0] - 1 :]
        assert len(cached) == self.last - first + 1
        assert log.cached_bytes == 10 * len(cached)
        assert first <= self.durable + 1, "an entry that is not durable has left the cache"
        if len(cached) * (10 * COPIES + ENTRY_OVERHEAD) > self.limit:
            assert first == self.durable + 1, "a durable entry is cached above the limit"
        for low in range(first, self.last + 1):
            for high in (low, low + 1, self.last + 1):
                want = self.truth[low - self.base[0] - 1 : high - self.base[0] - 1]
                assert log.cached(low, high, 1 << 20) == want
                assert log.cached_size(low, high) == 10 * len(want)
        if self.base[0] + 1 < first:
            assert log.cached(first - 1, self.last + 1, 1 << 20) is None


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(st.integers(1, 60), st.integers(0, 4))
def test_a_batch_is_cut_by_bytes_but_never_empty(max_bytes: int, low: int) -> None:
    log = log_of(1, 1, 1, 1, 1)
    got = log.cached(low, 5, max_bytes)
    assert got is not None
    assert len(got) == min(max(max_bytes // 10, 1), 5 - low)


@pytest.mark.parametrize(
    ("incoming", "new"),
    [
        (entries(3, 2), 0),  # behind the end
        (entries(0, 1, 1, 2), 3),  # all known
        (entries(1, 1, 3), 1),  # conflict
        (entries(1, 1, 2, 2), 2),  # known, then behind the end
        ([], 0),
    ],
)
def test_first_new(incoming: Sequence[Entry], new: int) -> None:
    assert log_of(1, 1, 2).first_new(incoming) == new


def test_up_to_date_compares_the_term_first() -> None:
    """Raft §5.4.1."""
    log = log_of(1, 2, 2)
    assert log.is_up_to_date(2, 2)
    assert log.is_up_to_date(0, 3)
    assert log.is_up_to_date(3, 2)
    assert not log.is_up_to_date(1, 2)
    assert not log.is_up_to_date(9, 1)


def test_configurations_follow_the_log() -> None:
    data = Configuration((Member("a", "a"),)).encode()
    log = log_of(1)
    log.append([Entry(1, i, EntryKind.CONFIGURATION, data) for i in (1, 2, 3)])
    log.truncate(3)
    assert [e.index for e in log.configurations] == [1, 2]
    log.compact(1)
    assert [e.index for e in log.configurations] == [2]
    log.reset(9, 4)
    assert log.configurations == []


def test_impossible_operations_are_refused() -> None:
    log = log_of(2, 2)
    with pytest.raises(InvariantError):
        log.append(entries(5, 2))
    with pytest.raises(InvariantError):
        log.append(entries(2, 1))
    with pytest.raises(InvariantError):
        log.mark_durable(2)
    log.compact(0)
    with pytest.raises(InvariantError):
        log.truncate(0)


def test_recovery_takes_the_tail_and_all_of_it_is_durable() -> None:
    log = RaftLog.recovered(3, 2, 8, [(4, 2), (6, 5)], [], entries(7, 5, 5), 1 << 20)
    assert [log.term_at(i) for i in range(3, 9)] == [2, 2, 2, 5, 5, 5]
    assert (log.durable_index, log.cached_from, log.last_term) == (8, 7, 5)
    assert log.cached(6, 9, 100) is None
    empty = RaftLog.recovered(3, 2, 3, [], [], [], 1 << 20)
    assert (empty.last_index, empty.last_term) == (3, 2)


@pytest.mark.parametrize(
    ("last", "runs", "tail"),
    [
        (8, [], []),  # entries without terms
        (8, [(5, 2)], []),  # the first entry has none
        (8, [(4, 1)], []),  # below the base's term
        (8, [(4, 2), (6, 2)], []),  # not runs
        (8, [(4, 2), (9, 3)], []),  # behind the end
        (8, [(4, 2)], entries(7, 2)),  # a tail that is not the end
        (2, [], []),  # ends before its base
    ],
)
def test_recovery_refuses_parts_that_do_not_fit(
    last: int, runs: list[tuple[int, int]], tail: list[Entry]
) -> None:
    with pytest.raises(InvariantError, match="does not fit"):
        RaftLog.recovered(3, 2, last, runs, [], tail, 1 << 20)


def test_the_encodings_of_entries_count_for_the_cache() -> None:
    """An entry that was sent keeps its bytes for the wire beside its data."""
    log = RaftLog(max_cached_bytes=1 << 20)
    for index in range(100):
        log.append([Entry(1, index, EntryKind.WRITE, bytes(20 << 10))])
        log.mark_durable(index)
    assert log.cached_bytes <= 1 << 19
    assert log.cached_from > 0
