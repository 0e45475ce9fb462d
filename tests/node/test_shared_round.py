"""Callers that share rounds: each gets the answer of one that began after it asked."""

from __future__ import annotations

import pytest
import trio

from trioraft.node import SharedRound
from trioraft.raft.errors import OverloadedError


class Clock:
    """Counts rounds; each takes a second and answers when it began."""

    def __init__(self) -> None:
        self.rounds = 0
        self.error: Exception | None = None

    async def ask(self) -> float:
        self.rounds += 1
        began = trio.current_time()
        await trio.sleep(1)
        if self.error is not None:
            raise self.error
        return began


async def test_those_who_wait_share_the_next_round(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    shared = SharedRound(clock.ask)

    async def ask(delay: float) -> None:
        await trio.sleep(delay)
        asked = trio.current_time()
        assert await shared.get() >= asked

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(ask, number / 50)
    assert clock.rounds == 2
    await ask(5)
    assert clock.rounds == 3


async def test_a_cancelled_caller_is_replaced(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    shared = SharedRound(clock.ask)
    answers: list[float] = []

    async def ask(patience: float) -> None:
        with trio.move_on_after(patience):
            answers.append(await shared.get())

    async with trio.open_nursery() as nursery:
        for patience in (0.5, 0.7, 9, 9, 1.2, 9):
            nursery.start_soon(ask, patience)
            await trio.testing.wait_all_tasks_blocked()
    assert len(answers) == 3
    assert min(answers) >= 0.5
    assert await shared.get() > max(answers), "and it is free afterwards"


async def test_an_error_is_that_of_its_round(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    clock.error = ValueError("no")
    shared = SharedRound(clock.ask)
    refused = 0

    async def ask() -> None:
        nonlocal refused
        with pytest.raises(ValueError, match="no"):
            await shared.get()
        refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert refused == 3
    assert clock.rounds == 2
    clock.error = None
    await shared.get()


@pytest.mark.parametrize("seed", range(8))
async def test_callers_cancelled_together_leave_the_round_free(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """The next round is handed to somebody who has just been cancelled, too."""
    clock = Clock()
    shared = SharedRound(clock.ask)
    async with trio.open_nursery() as nursery:
        for _ in range(4 + seed):
            nursery.start_soon(shared.get)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        await shared.get()


async def test_a_caller_cancelled_during_its_round_does_not_get_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = Clock()
    shared = SharedRound(clock.ask)

    async def ask(patience: float) -> None:
        with trio.move_on_after(patience):
            await shared.get()

    async with trio.open_nursery() as nursery:
        # The second begins a round for the third, which goes; then it goes itself.
        for patience in (9, 1.7, 1.4):
            nursery.start_soon(ask, patience)
            await trio.testing.wait_all_tasks_blocked()
    assert clock.rounds == 2
    with trio.fail_after(5):
        await shared.get()


async def test_who_is_not_cancelled_gets_the_round(autojump_clock: trio.testing.MockClock) -> None:
    """Of those that wait, the older ones are cancelled in one pass with who asks."""
    for _ in range(20):  # the order of tasks within a pass is anybody's
        clock = Clock()
        shared = SharedRound(clock.ask)
        answers: list[float] = []

        async def ask(shared: SharedRound[float] = shared, answers: list[float] = answers) -> None:
            answers.append(await shared.get())

        with trio.fail_after(5):
            async with trio.open_nursery() as staying, trio.open_nursery() as leaving:
                for _ in range(3):
                    leaving.start_soon(ask)
                    await trio.testing.wait_all_tasks_blocked()
                staying.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
        assert len(answers) == 1


async def test_more_callers_than_the_limit_are_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = Clock()
    shared = SharedRound(clock.ask, limit=5)
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await shared.get()
            outcomes.append("answered")
        except OverloadedError:
            outcomes.append("refused")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)  # begins a round
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.sleep(1.5)  # their round is on its way
        for _ in range(6):
            nursery.start_soon(ask)
    assert sorted(outcomes) == ["answered"] * 7 + ["refused"] * 3
    assert await shared.get() >= 3, "and it is free afterwards"
