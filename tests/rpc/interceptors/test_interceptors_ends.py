"""Interceptors and the ways a call ends early: cancellation and deadlines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import CALL, Diary, service
from trio.testing import MockClock

from trioraft.rpc import (
    Channel,
    ClientCall,
    Deadline,
    GRPCError,
    ServerCall,
    Status,
    open_channel,
    serve,
)
from trioraft.rpc.testing import open_test_channel


class Waiting(EchoBase):
    """Answers nothing."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        await trio.sleep_forever()
        raise AssertionError

    async def Chat(self, requests: Any, replies: Any) -> None:
        await trio.sleep_forever()


async def abandoned(channel: Channel) -> None:
    """Make a call, and cancel it without a deadline."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()


# ---- cancellation --------------------------------------------------------------------------------


async def test_a_caller_that_goes_away_cancels_handler_and_interceptors() -> None:
    diary = Diary()
    async with open_test_channel([Waiting()], interceptors=[diary.named("s")]) as channel:
        await abandoned(channel)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]
        [call] = diary.calls
        assert call.outcome is not None
        assert call.outcome.message == "the caller went away"


async def test_an_interceptor_that_waits_is_cancelled_too() -> None:
    diary = Diary()

    @asynccontextmanager
    async def waits(call: ServerCall) -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield

    async with open_test_channel(
        [service("trioraft")], interceptors=[diary.named("s"), waits]
    ) as channel:
        await abandoned(channel)
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]


async def test_a_cancelled_caller_leaves_its_interceptors() -> None:
    diary = Diary()
    async with open_test_channel([Waiting()], client_interceptors=[diary.named("c")]) as channel:
        for call in (EchoStub(channel).Unary(EchoRequest()), CALL["trioraft"](channel, "Chat")):
            diary.entries.clear()
            with trio.move_on_after(0.05) as scope:
                await call
            assert scope.cancelled_caught
            assert diary.entries == ["c in", "c Cancelled", "c CANCELLED"]


async def test_a_server_that_stops_leaves_its_interceptors() -> None:
    diary = Diary()
    async with trio.open_nursery() as nursery:
        serve_it = partial(serve, [Waiting()], port=0, interceptors=[diary.named("s")])
        [address] = await nursery.start(serve_it)
        async with open_channel(f"{address[0]}:{address[1]}") as channel:
            async with EchoStub(channel).Chat():
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert diary.entries == ["s in"]
                nursery.cancel_scope.cancel()
    assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]
    [call] = diary.calls
    assert call.outcome is not None
    assert call.outcome.message == "the connection has ended"


# ---- deadlines -----------------------------------------------------------------------------------


async def test_a_deadline_passes_inside_of_the_interceptors(autojump_clock: MockClock) -> None:
    diary = Diary()
    async with open_test_channel(
        [Waiting()], interceptors=[diary.named("s")], client_interceptors=[diary.named("c")]
    ) as channel:
        for _ in range(2):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(channel).Unary(EchoRequest(), timeout=5)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
        await trio.sleep(1)
    assert [e for e in diary.entries if e[0] == "c"] == 2 * [
        *("c in", "c GRPCError", "c DEADLINE_EXCEEDED")
    ]
    server = [e for e in diary.entries if e[0] == "s"]
    assert server[:2] == ["s in", "s Cancelled"]
    assert server[2] in ("s DEADLINE_EXCEEDED", "s CANCELLED")  # whichever came first


async def test_the_servers_own_deadline(autojump_clock: MockClock) -> None:
    diary = Diary()

    @asynccontextmanager
    async def quick(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is None
        call.limit_time(2)
        yield

    async with open_test_channel([Waiting()], interceptors=[diary.named("s"), quick]) as channel:
        started = trio.current_time()
        with pytest.raises(GRPCError, match="within 2 s") as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(2)
    assert diary.entries == ["s in", "s Cancelled", "s DEADLINE_EXCEEDED"]


@pytest.mark.parametrize("kind", ["Unary", "Chat"])
async def test_an_interceptor_sets_the_deadline(autojump_clock: MockClock, kind: str) -> None:
    seen: list[float] = []

    @asynccontextmanager
    async def patient(call: ClientCall) -> AsyncIterator[None]:
        if call.deadline is None:
            call.deadline = Deadline.from_timeout(7)
        yield

    @asynccontextmanager
    async def sees(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is not None
        seen.append(call.deadline.time_remaining())
        yield

    async with open_test_channel(
        [Waiting()], interceptors=[sees], client_interceptors=[patient]
    ) as channel:
        for timeout in (None, 3):
            with pytest.raises(GRPCError) as caught:
                await CALL["trioraft"](channel, kind, timeout=timeout)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
    assert seen == [pytest.approx(7), pytest.approx(3)]


async def test_a_trio_deadline_of_an_interceptor_reaches_the_server(
    autojump_clock: MockClock,
) -> None:
    seen: list[float] = []

    @asynccontextmanager
    async def scoped(call: ClientCall) -> AsyncIterator[None]:
        with trio.fail_after(4):
            yield

    @asynccontextmanager
    async def sees(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is not None
        seen.append(call.deadline.time_remaining())
        yield

    async with open_test_channel(
        [Waiting()], interceptors=[sees], client_interceptors=[scoped]
    ) as channel:
        with pytest.raises(trio.TooSlowError):
            await EchoStub(channel).Unary(EchoRequest())
    assert seen == [pytest.approx(4)]


async def test_the_deadline_holds_on_the_way_in(autojump_clock: MockClock) -> None:
    diary = Diary()

    @asynccontextmanager
    async def slow(call: ClientCall) -> AsyncIterator[None]:
        await trio.sleep(10)
        yield

    async with open_test_channel(
        [service("trioraft")], client_interceptors=[diary.named("c"), slow]
    ) as channel:
        started = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), timeout=3)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(3)
        assert await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=11)
    assert diary.entries == ["c in", "c Cancelled", "c DEADLINE_EXCEEDED", "c in", "c OK"]
