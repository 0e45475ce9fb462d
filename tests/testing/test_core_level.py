"""The core alone under random schedules: promises kept, the same seed the same run."""

from __future__ import annotations

import random

import pytest

from trioraft.raft import RaftConfig, RaftCore, RaftLog
from trioraft.raft.types import Configuration, Entry, EntryKind, HardState, Member
from trioraft.testing.core_level import run_schedule
from trioraft.testing.invariants import GroupInvariants, InvariantViolatedError


@pytest.mark.parametrize("first", range(400, 1900, 375))
def test_promises_are_kept(first: int) -> None:
    outcomes = [run_schedule(seed) for seed in range(first, first + 375)]
    # Schedules in which nothing happens prove nothing.
    assert sum(outcome.committed for outcome in outcomes) > 1000
    assert sum(outcome.leaderships for outcome in outcomes) > 300
    assert sum(outcome.reads for outcome in outcomes) > 100
    assert sum(outcome.crashes for outcome in outcomes) > 400
    assert sum(outcome.changes for outcome in outcomes) > 10


def test_a_seed_is_one_run_and_its_trace_tells_it() -> None:
    first: list[str] = []
    second: list[str] = []
    assert run_schedule(11, say=first.append) == run_schedule(11, say=second.append)
    assert first == second
    assert any(" leader term " in line for line in first)
    assert any(" commit " in line for line in first)
    assert run_schedule(11) == run_schedule(11, say=first.append)


MEMBERS = Configuration(tuple(Member(i, f"{i}:1") for i in "123"))


def make_core(node_id: str, entries: list[Entry], hard_state: HardState, commit: int) -> RaftCore:
    log = RaftLog()
    log.append(entries)
    log.mark_durable(log.last_index)
    return RaftCore(
        node_id=node_id,
        config=RaftConfig(),
        configuration=MEMBERS,
        log=log,
        hard_state=hard_state,
        rng=random.Random(1),
        now=0.0,
        commit=commit,
    )


def entry(term: int, index: int, data: bytes = b"x") -> Entry:
    return Entry(term, index, EntryKind.WRITE, data)


def begin(invariants: GroupInvariants, core: RaftCore) -> None:
    invariants.started(core)
    invariants.observe(core)


def test_the_checker_sees_two_entries_at_one_place() -> None:
    invariants = GroupInvariants()
    begin(invariants, make_core("1", [entry(1, 0)], HardState(1), -1))
    with pytest.raises(InvariantViolatedError, match="log matching"):
        begin(invariants, make_core("2", [entry(1, 0, b"y")], HardState(1), -1))


def test_the_checker_sees_two_commits_at_one_index() -> None:
    invariants = GroupInvariants()
    begin(invariants, make_core("1", [entry(1, 0)], HardState(1), 0))
    with pytest.raises(InvariantViolatedError, match="state machine safety"):
        begin(invariants, make_core("2", [entry(2, 0)], HardState(2), 0))


def test_the_checker_remembers_what_a_disk_has_promised() -> None:
    for forgotten, complaint in (
        (HardState(1), "term 2 was durable"),
        (HardState(2), "without its vote for 3"),
    ):
        invariants = GroupInvariants()
        begin(invariants, make_core("1", [], HardState(2, "3"), -1))
        with pytest.raises(InvariantViolatedError, match=complaint):
            invariants.started(make_core("1", [], forgotten, -1))
    invariants = GroupInvariants()
    begin(invariants, make_core("1", [entry(1, 0), entry(1, 1)], HardState(1), -1))
    with pytest.raises(InvariantViolatedError, match="without 1/1, which was durable"):
        invariants.started(make_core("1", [entry(1, 0)], HardState(1), -1))
