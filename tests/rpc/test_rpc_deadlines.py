"""Deadlines and cancellation, both ways, on a virtual clock over memory streams."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One, chat, in_memory, running

from trioraft.rpc import Deadline, GRPCError, Status


class Sleeper:
    """A handler that sleeps, and remembers what became of it."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.ended = trio.Event()
        self.remaining: float | None = None
        self.cancelled_at: float | None = None

    async def __call__(self, stream: Any) -> None:
        self.remaining = stream.deadline.time_remaining() if stream.deadline else None
        self.started.set()
        try:
            await trio.sleep(1000)
        except trio.Cancelled:
            self.cancelled_at = trio.current_time()
            raise
        finally:
            self.ended.set()


async def test_timeout_ends_the_call_on_both_ends(autojump_clock: trio.testing.MockClock) -> None:
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (channel, _):
        start = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - start == pytest.approx(5)
        await sleeper.ended.wait()
        assert sleeper.remaining == pytest.approx(5, abs=1e-3)
        assert sleeper.cancelled_at == pytest.approx(start + 5, abs=1e-3)


async def test_the_earlier_of_timeout_and_deadline_counts(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sleeper = Sleeper()
    async with in_memory([chat(sleeper)]) as (channel, _):
        stub = EchoStub(channel)
        with pytest.raises(GRPCError):
            async with channel.request(
                stub.Chat.name,
                stub.Chat._cardinality,
                EchoRequest,
                EchoReply,
                timeout=9,
                deadline=Deadline.from_timeout(2),
            ) as stream:
                await stream.send_request(end=True)
                await stream.recv_message()
        assert sleeper.remaining == pytest.approx(2, abs=1e-3)


async def test_an_enclosing_scope_becomes_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (channel, _):
        with trio.move_on_after(3) as scope:
            await EchoStub(channel).Unary(EchoRequest(), timeout=100)
        assert scope.cancelled_caught
        await sleeper.ended.wait()
        assert sleeper.remaining == pytest.approx(3, abs=1e-3)


async def test_an_expired_timeout_does_not_hang(autojump_clock: trio.testing.MockClock) -> None:
    async with in_memory([One(Sleeper())]) as (channel, _):
        for timeout in (0, -1):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(channel).Unary(EchoRequest(), timeout=timeout)
            assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_a_call_that_is_over_before_it_begins_is_not_sent() -> None:
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (channel, network):
        await channel.connection()
        [client] = network.client_ends
        client.sends.clear()
        with trio.CancelScope() as scope:
            scope.cancel()
            await EchoStub(channel).Unary(EchoRequest())
        assert scope.cancelled_caught
        with pytest.raises(GRPCError):
            await EchoStub(channel).Unary(EchoRequest(), timeout=0)
        await trio.testing.wait_all_tasks_blocked()
        assert not any(len(sent) > 40 for sent in client.sends)
        assert not sleeper.started.is_set()


async def test_the_servers_own_deadline_answers(autojump_clock: trio.testing.MockClock) -> None:
    """The server does not rely on the client to give up: it answers by itself."""
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (channel, _):
        call = EchoStub(channel).Unary.open()
        async with call as stream:
            # A deadline that only the server knows of.
            stream._metadata = None
            headers = channel.request_headers(stream._path)
            channel._headers[stream._path] = [*headers, (b"grpc-timeout", b"2S")]
            await stream.send_message(EchoRequest())
            with pytest.raises(GRPCError) as caught:
                await stream.recv_message()
            assert caught.value.status is Status.DEADLINE_EXCEEDED
            assert trio.current_time() == pytest.approx(sleeper.cancelled_at)
            await stream.cancel()


async def test_a_server_bounds_its_calls_with_a_status_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    cancelled: list[float] = []

    async def handler(stream: Any) -> None:
        stream.limit_time(3.0, GRPCError(Status.UNAVAILABLE, "too slow today"))
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with in_memory([One(handler)]) as (channel, _):
        began = trio.current_time()
        with pytest.raises(GRPCError, match="too slow today") as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.UNAVAILABLE
        assert cancelled == [pytest.approx(began + 3.0)]
        # A caller in more of a hurry keeps its own deadline and status.
        with pytest.raises(GRPCError) as hurried:
            await EchoStub(channel).Unary(EchoRequest(), timeout=1.0)
        assert hurried.value.status is Status.DEADLINE_EXCEEDED


async def test_cancelling_the_client_cancels_the_handler() -> None:
    sleeper = Sleeper()
    async with running([One(sleeper)]) as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
            await sleeper.started.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await sleeper.ended.wait()
        assert sleeper.cancelled_at is not None


async def test_an_exception_in_the_block_cancels_the_handler_and_comes_out_as_it_is() -> None:
    sleeper = Sleeper()
    async with running([chat(sleeper)]) as channel:
        with pytest.raises(KeyError):
            async with EchoStub(channel).Chat.open(timeout=50) as stream:
                await stream.send_request()
                await sleeper.started.wait()
                raise KeyError("mine")
        with trio.fail_after(10):
            await sleeper.ended.wait()


async def test_cancel_before_the_request_has_left() -> None:
    async with running([chat(Sleeper())]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request()
            await stream.cancel()
            with pytest.raises(GRPCError) as caught:
                await stream.recv_message()
            assert caught.value.status is Status.CANCELLED
        async with EchoStub(channel).Chat.open() as stream:  # the connection is fine
            await stream.send_request()
            await stream.cancel()


async def test_a_handler_that_outlives_its_caller_cannot_send() -> None:
    outcome: list[object] = []
    done = trio.Event()

    async def handler(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                try:
                    await stream.send_message(EchoReply())
                except GRPCError as error:
                    outcome.append(error.status)
            done.set()

    async with running([chat(handler)]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request()
            await trio.sleep(0.05)
            await stream.cancel()
        with trio.fail_after(10):
            await done.wait()
    assert outcome == [Status.CANCELLED]


async def test_a_lost_connection_cancels_handlers_and_fails_calls() -> None:
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (channel, network), trio.open_nursery() as nursery:

        async def cut() -> None:
            await sleeper.started.wait()
            await network.client_ends[0].aclose()

        nursery.start_soon(cut)
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.UNAVAILABLE
        with trio.fail_after(10):
            await sleeper.ended.wait()


async def test_a_deadline_inside_a_handler_is_the_callers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A nested call inherits what is left: nobody has to pass it on."""
    sleeper = Sleeper()
    async with in_memory([One(sleeper)]) as (inner, _):

        async def relay(stream: Any) -> None:
            await trio.sleep(4)
            await EchoStub(inner).Unary(EchoRequest())

        async with in_memory([One(relay)]) as (outer, _):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(outer).Unary(EchoRequest(), timeout=10)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert sleeper.remaining == pytest.approx(6, abs=1e-3)
