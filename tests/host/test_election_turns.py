"""Elections take turns: order, those that let others go first, those without a quorum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import trio

from trioraft.host.turns import ElectionTurns
from trioraft.node import Group
from trioraft.raft.types import Member


class FakeGroup:
    """A group at rest that has a leader as soon as a test says so; `turn` as the test wants it."""

    def __init__(self, number: int, turn: int | None = 0) -> None:
        self.group_id = number.to_bytes(16, "big")
        self.failure = None
        self.rest = self
        self.place = turn
        self.leads = False
        self.election_time = 0.0
        self.found = False
        self.woken: list[float] = []
        self.rested = 0

    def electing(self, lost: str | None) -> bool:
        return not self.found

    def turn(self, lost: str | None, reachable: Callable[[Member], bool]) -> int | None:
        return self.place

    def wake(self) -> None:
        self.woken.append(trio.current_time())

    def rest_leaderless(self) -> None:
        self.rested += 1


@pytest.fixture
def turns(nursery: trio.Nursery) -> ElectionTurns:
    turns = ElectionTurns(at_most=4, patience=3.0, reachable=lambda member: True)
    nursery.start_soon(turns.run)
    return turns


def enter(turns: ElectionTurns, groups: Sequence[FakeGroup]) -> None:
    for group in groups:
        turns.enter(cast(Any, group))


async def test_a_few_try_at_a_time_and_each_that_succeeds_makes_room(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    groups = [FakeGroup(number) for number in range(40)]
    enter(turns, groups)
    assert turns.busy
    most = 0
    with trio.fail_after(60):
        while not all(group.found for group in groups):
            await trio.sleep(0.05)
            trying = [group for group in groups if group.woken and not group.found]
            most = max(most, len(trying))
            for group in trying:
                group.found = True
    assert 1 < most <= 8  # what it begins with, before it knows how long a pass takes
    assert all(len(group.woken) == 1 for group in groups)
    assert not turns.busy


async def test_those_that_find_nobody_go_behind_the_others(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    stuck = [FakeGroup(number) for number in range(8)]
    late = FakeGroup(99)
    enter(turns, stuck)
    await trio.sleep(1.0)
    enter(turns, [late])
    assert not late.woken
    await trio.sleep(2.5)
    assert late.woken, "the others' patience has run out"
    assert all(group.rested == 1 for group in stuck)
    await trio.sleep(7.0)
    assert all(len(group.woken) >= 2 for group in stuck), "they get another turn"


async def test_who_comes_second_waits_for_the_first_and_often_need_not_try(
    turns: ElectionTurns,
    autojump_clock: trio.testing.MockClock,
) -> None:
    second, third, lucky = FakeGroup(1, turn=1), FakeGroup(2, turn=2), FakeGroup(3, turn=1)
    enter(turns, [second, third, lucky])
    began = trio.current_time()
    await trio.sleep(0.5)
    lucky.found = True
    await trio.sleep(3.0)
    assert not lucky.woken
    assert second.woken[0] - began == pytest.approx(1.0, abs=0.1)
    assert third.woken[0] - began == pytest.approx(2.0, abs=0.1)


async def test_without_a_quorum_in_reach_nobody_tries(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    alone = FakeGroup(1, turn=None)
    enter(turns, [alone])
    await trio.sleep(60.0)
    assert not alone.woken
    alone.place = 0
    turns.link_up()
    await trio.sleep(0.1)
    assert len(alone.woken) == 1


async def test_leaders_are_woken_in_turns_too(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    leaders = [FakeGroup(number) for number in range(30)]
    for group in leaders:
        group.leads = group.found = True
    enter(turns, leaders)
    await trio.sleep(1.0)
    times = Counter(group.woken[0] for group in leaders)
    assert all(len(group.woken) == 1 for group in leaders)
    assert max(times.values()) <= 8


async def test_a_group_that_is_gone_is_not_woken(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    groups = [FakeGroup(1), FakeGroup(2, turn=1), FakeGroup(3, turn=None)]
    enter(turns, groups)
    turns.leave(groups[0].group_id)
    await trio.sleep(0.2)
    for group in groups[1:]:
        turns.leave(group.group_id)
        group.place = 0
    turns.link_up()
    await trio.sleep(5.0)
    assert not any(group.woken for group in groups)


def test_the_fake_has_what_is_asked_of_a_group() -> None:
    """So that the tests above do not outlive a change of `GroupRest`."""
    from trioraft.node.rest import GroupRest

    for name in ("electing", "turn", "wake", "rest_leaderless", "leads"):
        assert hasattr(GroupRest, name)
    assert {"group_id"} <= set(Group.__init__.__annotations__)


async def test_a_timer_may_run_out_before_the_group_goes_to_rest_again(
    turns: ElectionTurns, autojump_clock: trio.testing.MockClock
) -> None:
    """Else it would begin anew with each turn, and nobody ever stood for election (openraft)."""
    slow = FakeGroup(1)
    slow.election_time = 8.0
    enter(turns, [slow])
    await trio.sleep(7.9)
    assert (len(slow.woken), slow.rested) == (1, 0)
    await trio.sleep(1.0)
    assert (len(slow.woken), slow.rested) == (2, 1)
