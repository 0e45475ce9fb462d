"""Whatever a handler does, the others never notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, Echo, One, in_memory

from trioraft.rpc import Cardinality, Channel, GRPCError, Status

BAD = "/test.Bad/Call"


@asynccontextmanager
async def beside(handler: Callable[[Any], Any]) -> AsyncIterator[Channel]:
    """A channel to a bad handler, while a stream of another call on the same connection goes on."""
    bad = One(handler, path=BAD)
    async with in_memory([bad, Echo()]) as (channel, _):
        async with channel.request(CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply) as good:
            await good.send_message(EchoRequest(payload=b"before"))
            assert (await good.recv_message()).payload == b"before"
            yield channel
            await good.send_message(EchoRequest(payload=b"after"), end=True)
            assert (await good.recv_message()).payload == b"after"
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"next"))
        assert reply.payload == b"next"
        assert channel.connector.current is not None
        assert channel.connector.current.calls_started >= 2


async def call(channel: Channel, timeout: float | None = None) -> EchoReply:
    async with channel.request(
        BAD, Cardinality.UNARY_UNARY, EchoRequest, EchoReply, timeout=timeout
    ) as stream:
        await stream.send_message(EchoRequest())
        reply: EchoReply = await stream.recv_message()
        return reply


async def status_of(handler: Callable[[Any], Any]) -> tuple[Status, str | None]:
    async with beside(handler) as channel:
        with pytest.raises(GRPCError) as caught:
            await call(channel)
    return caught.value.status, caught.value.message


async def test_it_blocks_for_ever(autojump_clock: object) -> None:
    ended: list[float] = []

    async def handler(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with beside(handler) as channel:
        with pytest.raises(GRPCError) as caught:
            await call(channel, timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        await trio.sleep(1)
        assert ended == [pytest.approx(5, abs=0.1)]


async def test_it_raises_groups_of_groups(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: Any) -> None:
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as inner:
                inner.start_soon(fail, KeyError("secret"))
                inner.start_soon(fail, ValueError("secret"))
            outer.start_soon(trio.sleep_forever)

    async def fail(error: Exception) -> None:
        raise error

    assert await status_of(handler) == (Status.UNKNOWN, "Internal Server Error")
    assert "the handler failed" in caplog.text


async def test_a_status_in_a_nursery_is_the_status() -> None:
    async def handler(stream: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise GRPCError(Status.NOT_FOUND, "not here")

    assert await status_of(handler) == (Status.NOT_FOUND, "not here")


async def test_it_raises_what_no_handler_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that is not an Exception, but no end of the program either."""

    async def handler(stream: Any) -> None:
        raise GeneratorExit

    with pytest.raises(BaseExceptionGroup) as caught:
        async with beside(handler) as channel:
            await call(channel)
    assert caught.group_contains(GeneratorExit)


async def test_it_cancels_its_own_scope(autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"alive"))

    async with beside(handler) as channel:
        assert (await call(channel)).payload == b"alive"


async def test_it_cancels_its_call(autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        await stream.cancel()
        await trio.sleep_forever()

    assert (await status_of(handler))[0] is Status.CANCELLED


async def test_a_cancelled_error_that_is_none(autojump_clock: object) -> None:
    """A handler keeps the Cancelled of a scope of its own and raises it later."""

    async def handler(stream: Any) -> None:
        kept: BaseException | None = None
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as error:
                kept = error
                raise
        assert kept is not None
        raise ValueError("late") from kept

    assert (await status_of(handler))[0] is Status.UNKNOWN


async def test_it_opens_and_closes_a_nursery_by_hand(autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        manager = trio.open_nursery()
        nursery = await manager.__aenter__()
        nursery.start_soon(trio.sleep, 0.01)
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"left"))
        nursery.cancel_scope.cancel()
        await manager.__aexit__(None, None, None)

    async with beside(handler) as channel:
        assert (await call(channel)).payload == b"left"


async def abandoned(seconds: float) -> AsyncIterator[int]:
    """What Trio warns of: a generator that yields inside of a scope."""
    with trio.move_on_after(seconds):
        yield 1
        yield 2


async def fail_soon() -> None:
    await trio.sleep(0.5)
    raise KeyError("late")


LEFT_OPEN = ["generator", "scope", "nursery", "nursery with a task", "nursery with a failing task"]


@pytest.mark.parametrize("kind", LEFT_OPEN)
async def test_it_leaves_a_scope_or_a_nursery_open(
    kind: str, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Any] = []

    async def handler(stream: Any) -> None:
        await stream.recv_message()
        if kind == "generator":
            kept.append(abandoned(1))
            await anext(kept[-1])
        elif kind == "scope":
            kept.append(trio.CancelScope(deadline=trio.current_time() + 1))
            kept[-1].__enter__()
        else:
            kept.append(trio.open_nursery())
            nursery = await kept[-1].__aenter__()
            if kind == "nursery with a task":
                nursery.start_soon(trio.sleep, 3)
            elif kind == "nursery with a failing task":
                nursery.start_soon(fail_soon)
        await stream.send_message(EchoReply(payload=b"left"))

    async with beside(handler) as channel:
        for _ in range(3):
            assert (await call(channel)).payload == b"left"
            await trio.sleep(0.2)
        await trio.sleep(5)
    assert caplog.text.count("a cancel scope or a nursery was left open") == 3


async def test_a_scope_left_open_that_ends_its_own_call(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Any] = []

    async def handler(stream: Any) -> None:
        kept.append(abandoned(1))
        await anext(kept[-1])
        await trio.sleep(10)

    async with beside(handler) as channel:
        with pytest.raises(GRPCError) as caught:
            await call(channel, timeout=100)
        assert caught.value.status is Status.UNKNOWN
        assert trio.current_time() == pytest.approx(1, abs=0.1)


async def test_it_ignores_cancellation_for_a_while(autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async with beside(handler) as channel:
        begin = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await call(channel, timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - begin == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("many", [300])
async def test_hundreds_that_fail_at_once(many: int, autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep(0.01)
        raise ZeroDivisionError

    statuses: list[Status] = []

    async with beside(handler) as channel:

        async def one() -> None:
            with pytest.raises(GRPCError) as caught:
                await call(channel)
            statuses.append(caught.value.status)

        async with trio.open_nursery() as nursery:
            for _ in range(many):
                nursery.start_soon(one)
    assert statuses == many * [Status.UNKNOWN]
