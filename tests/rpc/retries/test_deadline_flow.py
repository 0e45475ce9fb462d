"""Deadlines that flow by themselves: from Trio scopes and handlers into the calls made there."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import MemoryNetwork, One, chat, in_memory

from trioraft.rpc import Deadline, GRPCError, Status, open_channel, serve


class Watcher:
    """A handler that never answers, and remembers the deadline it was given and its end."""

    def __init__(self) -> None:
        self.remaining: list[float | None] = []
        self.cancelled = trio.Event()

    async def __call__(self, stream: Any) -> None:
        self.remaining.append(stream.deadline.time_remaining() if stream.deadline else None)
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


async def test_a_task_in_the_handlers_own_nursery_inherits_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watcher = Watcher()
    async with in_memory([One(watcher)]) as (inner, _):

        async def relay(stream: Any) -> None:
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(EchoStub(inner).Unary, EchoRequest()))
                nursery.start_soon(partial(EchoStub(inner).Unary, EchoRequest(), timeout=50))

        async with in_memory([One(relay)]) as (outer, _):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(outer).Unary(EchoRequest(), timeout=10)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert watcher.remaining == [pytest.approx(9, abs=1e-3)] * 2
        with trio.fail_after(1):
            await watcher.cancelled.wait()


async def test_a_handlers_own_limit_flows_as_well(autojump_clock: trio.testing.MockClock) -> None:
    watcher = Watcher()
    async with in_memory([One(watcher)]) as (inner, _):

        async def relay(stream: Any) -> None:
            stream.limit_time(2.0, GRPCError(Status.UNAVAILABLE, "enough"))
            await EchoStub(inner).Unary(EchoRequest())

        async with in_memory([One(relay)]) as (outer, _):
            with pytest.raises(GRPCError, match="enough"):
                await EchoStub(outer).Unary(EchoRequest())
        assert watcher.remaining == [pytest.approx(2, abs=1e-3)]


async def test_a_shield_keeps_the_surroundings_deadline_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watcher = Watcher()
    async with in_memory([One(watcher)]) as (channel, _):
        with trio.move_on_after(3), trio.CancelScope(shield=True):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(channel).Unary(EchoRequest(), timeout=7)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert watcher.remaining == [pytest.approx(7, abs=1e-3)]


@pytest.mark.parametrize("own", [None, 8.0])
async def test_a_channel_that_does_not_inherit_sends_only_a_calls_own_deadline(
    own: float | None, autojump_clock: trio.testing.MockClock
) -> None:
    watcher = Watcher()
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [One(watcher)], listeners=[network]))
        async with open_channel("m", dial=network.dial, inherit_deadlines=False) as channel:
            began = trio.current_time()
            with trio.move_on_after(3) as scope:
                await EchoStub(channel).Unary(EchoRequest(), timeout=own)
            # The scope acts here all the same, and its cancellation reaches the handler.
            assert scope.cancelled_caught
            assert trio.current_time() - began == pytest.approx(3)
            with trio.fail_after(1):
                await watcher.cancelled.wait()
        nursery.cancel_scope.cancel()
    assert watcher.remaining == [own and pytest.approx(own, abs=1e-3)]


async def test_a_surrounding_deadline_cancels_as_trio_does_and_the_own_one_raises(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with in_memory([chat(Watcher())]) as (channel, _):
        stub = EchoStub(channel)
        for surrounding, own in ((2.0, 5.0), (5.0, 2.0), (2.0, None)):
            began = trio.current_time()
            error: BaseException | None = None
            with trio.move_on_after(surrounding) as scope:
                try:
                    async with stub.Chat.open(timeout=own) as stream:
                        await stream.send_request(end=True)
                        await stream.recv_message()
                except GRPCError as caught:
                    error = caught
            assert trio.current_time() - began == pytest.approx(2)
            if own == 2.0:
                assert isinstance(error, GRPCError)
                assert error.status is Status.DEADLINE_EXCEEDED
                assert not scope.cancelled_caught
            else:
                assert error is None
                assert scope.cancelled_caught


@pytest.mark.parametrize("giant", [1e9, 3.6e11, 1e15, 1e300, math.inf])
async def test_giant_timeouts_are_cut_to_what_the_header_holds(
    giant: float, autojump_clock: trio.testing.MockClock
) -> None:
    seen: list[Deadline | None] = []

    async def handler(stream: Any) -> None:
        seen.append(stream.deadline)
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async with in_memory([One(handler)]) as (channel, _):
        await EchoStub(channel).Unary(EchoRequest(), timeout=giant)
    [deadline] = seen
    if giant == math.inf:
        assert deadline is None
    else:
        assert deadline is not None
        assert deadline.time_remaining() == pytest.approx(min(giant, 99_999_999 * 3600.0), rel=1e-6)


async def test_a_deadline_that_is_no_number_is_refused_at_once() -> None:
    async with in_memory([]) as (channel, _):
        with pytest.raises(ValueError, match="NaN"):
            await EchoStub(channel).Unary(EchoRequest(), timeout=math.nan)
        with pytest.raises(TypeError):
            await EchoStub(channel).Unary(EchoRequest(), timeout="5")
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), timeout=-math.inf)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
