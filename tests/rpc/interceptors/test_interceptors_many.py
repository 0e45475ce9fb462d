"""Interceptors under many calls that end in all ways at once, and what they leave behind."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import CALL, KINDS, service
from trio.testing import MockClock

from trioraft.rpc import GRPCError, Status
from trioraft.rpc.testing import open_test_channel


class Moody(EchoBase):
    """Answers, fails, or takes its time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def _mood(self) -> None:
        await trio.sleep(self._rng.random())
        if self._rng.random() < 0.3:
            raise GRPCError(Status.ABORTED, "not in the mood")

    async def Unary(self, request: EchoRequest) -> EchoReply:
        await self._mood()
        return EchoReply(payload=request.payload)

    async def Chat(
        self,
        requests: trio.abc.ReceiveChannel[EchoRequest],
        replies: trio.abc.SendChannel[EchoReply],
    ) -> None:
        async for request in requests:
            await self._mood()
            await replies.send(EchoReply(payload=request.payload))


class Moods:
    """Interceptors that fail, wait and swallow now and then, and keep a balance."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.inside: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()

    def named(self, name: str) -> Callable[[Any], AbstractAsyncContextManager[None]]:
        @asynccontextmanager
        async def moody(call: Any) -> AsyncIterator[None]:
            if self._rng.random() < 0.05:
                raise GRPCError(Status.PERMISSION_DENIED, name)
            await trio.sleep(self._rng.random() / 10)
            call.on_send(lambda message: None)
            call.measure()
            self.inside[name] += 1
            try:
                yield
            except GRPCError as error:
                if self._rng.random() < 0.1:
                    raise GRPCError(Status.DATA_LOSS, name) from error
                raise
            finally:
                self.inside[name] -= 1
                self.outcomes[call.outcome.status.name] += 1

        return moody


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_is_entered_is_left(autojump_clock: MockClock, seed: int) -> None:
    rng = random.Random(seed)
    moods = Moods(rng)
    ended: Counter[str] = Counter()

    async def one(stub: EchoStub) -> None:
        timeout = rng.choice([None, 0.5, 2])
        with trio.move_on_after(rng.choice([0.3, 1, 60])) as scope:
            try:
                if rng.random() < 0.5:
                    await stub.Unary(EchoRequest(payload=b"x"), timeout=timeout)
                else:
                    async with stub.Chat(timeout=timeout) as (requests, replies):
                        for _ in range(3):
                            await requests.send(EchoRequest(payload=b"x"))
                            await replies.receive()
                ended["OK"] += 1
            except GRPCError as error:
                ended[error.status.name] += 1
        ended["cancelled"] += scope.cancelled_caught

    async with open_test_channel(
        [Moody(rng)],
        interceptors=[moods.named("s1"), moods.named("s2")],
        client_interceptors=[moods.named("c1"), moods.named("c2")],
    ) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(one, EchoStub(channel))
        await trio.sleep(60)
        assert sum(ended.values()) == 200
        assert +moods.inside == {}
    assert {"OK", "ABORTED", "PERMISSION_DENIED", "DATA_LOSS", "cancelled"} <= ended.keys()
    assert {"OK", "ABORTED", "PERMISSION_DENIED", "CANCELLED"} <= moods.outcomes.keys()


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
async def test_nothing_is_left_to_the_garbage_collector() -> None:
    """A call that went well, looked at from all sides, holds itself in no circle."""
    calls: list[weakref.ref[Any]] = []

    @asynccontextmanager
    async def looks(call: Any) -> AsyncIterator[None]:
        calls.append(weakref.ref(call.stream))
        call.on_receive(lambda message: None)
        call.measure()
        if hasattr(call, "request") and not call.cardinality.client_streaming:
            await call.request()
        yield
        assert call.outcome.ok

    async with open_test_channel(
        [service("trioraft")], interceptors=[looks], client_interceptors=[looks]
    ) as channel:
        for kind in KINDS:
            await CALL["trioraft"](channel, kind)
    assert len(calls) == 8
    assert [ref() for ref in calls] == [None] * 8
