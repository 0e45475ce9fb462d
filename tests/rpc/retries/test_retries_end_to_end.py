"""Policies between our own ends: stubs of both plugins, interceptors, pushback, observers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import echo_trio
import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork, One

from trioraft.rpc import (
    Channel,
    ClientCall,
    GRPCError,
    ReplyMetadata,
    Service,
    Status,
    open_channel,
    serve,
)
from trioraft.rpc.client.retrying.repeated import RepeatedStream

RETRY = {
    "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
}
HEDGE = {
    "hedgingPolicy": {
        "maxAttempts": 4,
        "hedgingDelay": "1s",
        "nonFatalStatusCodes": ["UNAVAILABLE"],
    }
}


class Flaky(Echo):
    """An echo whose methods fail their first two attempts, as those say that they are."""

    def __init__(self) -> None:
        self.attempts: list[int] = []

    def _first(self, stream: Any) -> None:
        self.attempts.append(stream.previous_attempts)
        if stream.previous_attempts < 2:
            raise GRPCError(Status.UNAVAILABLE, "not yet")

    async def Unary(self, stream: Any) -> None:
        self._first(stream)
        await super().Unary(stream)

    async def Expand(self, stream: Any) -> None:
        self._first(stream)
        await super().Expand(stream)

    async def Collect(self, stream: Any) -> None:
        self._first(stream)
        await super().Collect(stream)

    async def Chat(self, stream: Any) -> None:
        self._first(stream)
        await super().Chat(stream)


@asynccontextmanager
async def channel_to(
    services: list[Service], policy: dict[str, Any], **options: Any
) -> AsyncIterator[Channel]:
    config = {"methodConfig": [{"name": [{}], **policy}]}
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, services, listeners=[network]))
        async with open_channel(
            "m", dial=network.dial, service_config=config, **options
        ) as channel:
            yield channel
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("policy", [RETRY, HEDGE], ids=["retry", "hedge"])
async def test_grpclib_stubs(
    policy: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    flaky = Flaky()
    async with channel_to([flaky], policy) as channel:
        stub = EchoStub(channel)
        assert (await stub.Unary(EchoRequest(payload=b"1"))).payload == b"1"
        assert len(await stub.Expand(EchoRequest(payload=b"2", count=100))) == 100
        assert (await stub.Collect([EchoRequest()] * 100)).index == 100
        async with stub.Chat.open() as stream:
            assert isinstance(stream, RepeatedStream)
            for index in range(100):
                await stream.send_message(EchoRequest(payload=b"%d" % index))
                reply = await stream.recv_message()
                assert reply is not None
                assert reply.payload == b"%d" % index
            await stream.end()
            assert await stream.recv_message() is None
    assert flaky.attempts == [0, 1, 2] * 4


@pytest.mark.parametrize("policy", [RETRY, HEDGE], ids=["retry", "hedge"])
async def test_our_stubs(policy: dict[str, Any], autojump_clock: trio.testing.MockClock) -> None:
    flaky = Flaky()
    async with channel_to([flaky], policy) as channel:
        stub = echo_trio.EchoStub(channel)
        received = ReplyMetadata()
        reply = await stub.Unary(EchoRequest(payload=b"1"), received=received)
        assert reply.payload == b"1"
        assert received.trailing is not None
        async with stub.Expand(EchoRequest(payload=b"2", count=100)) as replies:
            assert len([each async for each in replies]) == 100
        async with stub.Collect() as upload:
            for _ in range(100):
                await upload.send(EchoRequest())
            assert (await upload.reply()).index == 100
        async with stub.Chat() as (requests, answers):
            for index in range(100):
                await requests.send(EchoRequest(payload=b"%d" % index))
                assert (await answers.receive()).payload == b"%d" % index
            await requests.aclose()
            with pytest.raises(trio.EndOfChannel):
                await answers.receive()
    assert flaky.attempts == [0, 1, 2] * 4


async def test_large_messages_both_ways(autojump_clock: trio.testing.MockClock) -> None:
    """More than any window: flow control after the commitment is any call's."""
    flaky = Flaky()
    async with channel_to([flaky], RETRY) as channel:
        async with EchoStub(channel).Chat.open() as stream, trio.open_nursery() as nursery:
            await stream.send_message(EchoRequest(payload=b"first"))
            assert await stream.recv_message() == EchoReply(payload=b"first")

            async def send() -> None:
                for _ in range(20):
                    await stream.send_message(EchoRequest(payload=bytes(2**20)))
                await stream.end()

            nursery.start_soon(send)
            assert len([reply async for reply in stream]) == 20


async def test_compression_with_attempts(autojump_clock: trio.testing.MockClock) -> None:
    async with channel_to([Flaky()], RETRY, compression="gzip") as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"x" * 10_000))
        assert reply.payload == b"x" * 10_000


async def test_interceptors_see_one_call(autojump_clock: trio.testing.MockClock) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def around(call: ClientCall) -> AsyncIterator[None]:
        call.metadata["who"] = "interceptor"
        began = trio.current_time()
        yield
        seen.append(trio.current_time() - began > 1.5)

    async def handler(stream: Any) -> None:
        assert stream.metadata["who"] == "interceptor"
        if stream.previous_attempts < 2:
            raise GRPCError(Status.UNAVAILABLE)
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async with channel_to([One(handler)], RETRY, interceptors=[around]) as channel:
        await EchoStub(channel).Unary(EchoRequest())
    assert seen == [True]


async def test_a_handler_pushes_back(autojump_clock: trio.testing.MockClock) -> None:
    at: list[float] = []

    async def handler(stream: Any) -> None:
        at.append(trio.current_time())
        stream.push_back(5.0)
        if len(at) == 2:
            stream.push_back(None)  # the last word counts
        stream.set_trailing_metadata({"why": "busy"})
        raise GRPCError(Status.UNAVAILABLE, "busy")

    async with channel_to([One(handler)], RETRY) as channel:
        with pytest.raises(GRPCError, match="busy"):
            await EchoStub(channel).Unary(EchoRequest())
    assert len(at) == 2
    assert at[1] - at[0] == pytest.approx(5)


async def test_pushback_has_bounds() -> None:
    async def handler(stream: Any) -> None:
        for wrong in (-1, 2_147_484, float("nan")):
            with pytest.raises(ValueError, match=r"pushback|NaN"):
                stream.push_back(wrong)
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async with channel_to([One(handler)], RETRY) as channel:
        await EchoStub(channel).Unary(EchoRequest())


class Watch:
    """Notes down what an observer of attempts hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def started(self, number: int, transparent: bool) -> None:
        self.heard.append(("started", number, transparent))

    def ended(self, number: int, status: Status) -> None:
        self.heard.append(("ended", number, status.name))


async def test_an_observer_hears_of_every_attempt(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with channel_to([Flaky()], RETRY) as channel:
        watch = Watch()
        async with EchoStub(channel).Unary.open() as stream:
            stream.attempts = watch
            await stream.send_message(EchoRequest(), end=True)
            await stream.recv_message()
        assert watch.heard == [
            ("started", 1, False),
            ("ended", 1, "UNAVAILABLE"),
            ("started", 2, False),
            ("ended", 2, "UNAVAILABLE"),
            ("started", 3, False),
            ("ended", 3, "OK"),
        ]

    async def slow(stream: Any) -> None:
        await trio.sleep(2.5 if stream.previous_attempts else 100)
        await stream.recv_message()
        await stream.send_message(EchoReply())

    async with channel_to([One(slow)], HEDGE) as channel:
        watch = Watch()
        async with EchoStub(channel).Unary.open() as stream:
            stream.attempts = watch
            await stream.send_message(EchoRequest(), end=True)
            await stream.recv_message()
        assert [each for each in watch.heard if each[0] == "ended"] == [
            ("ended", 1, "CANCELLED"),
            ("ended", 3, "CANCELLED"),
            ("ended", 4, "CANCELLED"),
            ("ended", 2, "OK"),
        ]


async def test_many_calls_at_once_leave_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with channel_to([Flaky()], HEDGE) as channel:

        async def one(index: int) -> None:
            with trio.move_on_after(1.5 + index % 3):
                await EchoStub(channel).Unary(EchoRequest(payload=bytes(1000)))

        living = []
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for index in range(200):
                    nursery.start_soon(one, index)
            await trio.sleep(1)
            living.append(trio.lowlevel.current_statistics().tasks_living)
        assert living[0] == living[1]
        assert channel.plans is not None
        assert channel.plans.account.used == 0
        assert channel.connector.ready is not None
        assert not channel.connector.ready.calls
