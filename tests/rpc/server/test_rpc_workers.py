"""Calls share worker tasks one after the other, and must never notice."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest
import trio
import trio.testing

from trioraft.rpc.server.workers import MAX_IDLE, Workers

marker: ContextVar[str] = ContextVar("marker", default="unset")


class Call:
    method_name = "/test/Call"

    def __init__(self, body: Callable[[Call], Awaitable[None]]) -> None:
        self._body = body
        self.scope: trio.CancelScope | None = None
        self.task: trio.lowlevel.Task | None = None
        self.outcome: bool | None = None

    async def run(self, scope: trio.CancelScope) -> None:
        self.scope = scope
        self.task = trio.lowlevel.current_task()
        await self._body(self)

    def finished(self, *, cancelled: bool) -> None:
        self.scope = None
        self.outcome = cancelled


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def nothing(call: Call) -> None:
    await trio.lowlevel.checkpoint()


async def forever(call: Call) -> None:
    await trio.sleep_forever()


async def test_a_worker_is_used_again() -> None:
    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        calls = [Call(nothing) for _ in range(5)]
        for call in calls:
            workers.start(call)
            await settle()
        assert [call.outcome for call in calls] == [False] * 5
        assert len({id(call.task) for call in calls}) == 1
        nursery.cancel_scope.cancel()


async def test_a_cancelled_call_takes_nothing_with_it() -> None:
    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        first, second = Call(forever), Call(forever)
        workers.start(first)
        await settle()
        assert first.scope is not None
        first.scope.cancel()
        await settle()
        assert first.outcome is True
        workers.start(second)
        await settle()
        assert second.task is first.task
        assert second.outcome is None
        nursery.cancel_scope.cancel()
    assert second.outcome is None


async def test_a_cancel_that_comes_too_late_ends_with_its_call() -> None:
    async def cancel_and_return(call: Call) -> None:
        assert call.scope is not None
        call.scope.cancel()

    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        first, second = Call(cancel_and_return), Call(nothing)
        workers.start(first)
        await settle()
        workers.start(second)
        await settle()
        assert (first.outcome, second.outcome) == (False, False)
        nursery.cancel_scope.cancel()


async def test_a_deadline_ends_with_its_call(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[float] = []

    async def with_deadline(call: Call) -> None:
        assert call.scope is not None
        call.scope.deadline = trio.current_time() + 1

    async def look(call: Call) -> None:
        seen.append(trio.current_effective_deadline())
        await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        workers.start(Call(with_deadline))
        await trio.sleep(0.1)
        second = Call(look)
        workers.start(second)
        await trio.sleep(20)
        assert seen == [math.inf]
        assert second.outcome is False
        expired = Call(forever)
        workers.start(expired)
        await trio.sleep(0.1)
        assert expired.scope is not None
        expired.scope.deadline = trio.current_time() + 1
        await trio.sleep(2)
        assert expired.outcome is True
        nursery.cancel_scope.cancel()


async def test_context_variables_end_with_their_call() -> None:
    seen: list[str] = []

    async def mark(call: Call) -> None:
        seen.append(marker.get())
        marker.set("dirty")
        await trio.lowlevel.checkpoint()
        seen.append(marker.get())

    marker.set("from outside")
    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        for _ in range(3):
            workers.start(Call(mark))
            await settle()
        nursery.cancel_scope.cancel()
    assert seen == ["from outside", "dirty"] * 3


async def test_idle_workers_are_bounded() -> None:
    async with trio.open_nursery() as nursery:
        workers = Workers(nursery)
        for _ in range(MAX_IDLE + 40):
            workers.start(Call(nothing))
        await settle()
        assert len(nursery.child_tasks) == MAX_IDLE
        nursery.cancel_scope.cancel()


async def test_what_must_end_the_connection_does() -> None:
    async def fatal(call: Call) -> None:
        raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            Workers(nursery).start(Call(fatal))
    assert caught.group_contains(KeyboardInterrupt)
