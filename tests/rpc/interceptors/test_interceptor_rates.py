"""Limits on the rate of calls, and on how many run at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from google.rpc.error_details_pb2 import RetryInfo
from intercepted_echo import CALL, service
from trio.testing import MockClock

from trioraft.rpc import GRPCError, Status
from trioraft.rpc.details import find_detail
from trioraft.rpc.interceptors.rates import (
    by_identity,
    by_method,
    by_peer,
    limit_concurrency,
    limit_rate,
)
from trioraft.rpc.interceptors.tokens import (
    authenticate,
    static_tokens,
)
from trioraft.rpc.testing import open_test_channel


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


TOKENS = static_tokens({"one": "ada", "two": "bob"})


async def test_a_rate(autojump_clock: MockClock) -> None:
    async with open_test_channel(
        [service("trioraft")], interceptors=[limit_rate(2, burst=3)]
    ) as channel:
        for _ in range(3):
            await CALL["trioraft"](channel, "Unary")
        with pytest.raises(GRPCError, match="come back in 500 ms") as caught:
            await CALL["trioraft"](channel, "Chat")
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        info = find_detail(caught.value, RetryInfo)
        assert info is not None
        assert info.retry_delay.ToMilliseconds() == 500
        await trio.sleep(0.5)
        await CALL["trioraft"](channel, "Unary")
        await trio.sleep(100)
        for _ in range(3):
            await CALL["trioraft"](channel, "Collect")
        with pytest.raises(GRPCError):
            await CALL["trioraft"](channel, "Unary")


async def test_pushback_is_in_the_trailers(autojump_clock: MockClock) -> None:
    async with open_test_channel([service("trioraft")], interceptors=[limit_rate(1)]) as channel:
        await CALL["trioraft"](channel, "Unary")
        with pytest.raises(GRPCError):
            async with EchoStub(channel).Expand(EchoRequest()) as replies:
                await replies.receive()
        assert (b"grpc-retry-pushback-ms", b"1000") in replies.stream._trailers


async def test_limits_by_method_and_identity(autojump_clock: MockClock) -> None:
    layers = [limit_rate(1, key=by_method), authenticate(TOKENS), limit_rate(1, key=by_identity)]
    async with open_test_channel([service("trioraft")], interceptors=layers) as channel:
        await CALL["trioraft"](channel, "Unary", metadata=bearer("one"))
        with pytest.raises(GRPCError, match="come back"):  # by method
            await CALL["trioraft"](channel, "Unary", metadata=bearer("two"))
        await CALL["trioraft"](channel, "Chat", metadata=bearer("two"))
        with pytest.raises(GRPCError, match="come back"):  # by identity
            await CALL["trioraft"](channel, "Collect", metadata=bearer("two"))


async def test_no_more_keys_than_may_be(autojump_clock: MockClock) -> None:
    keys = iter("aabcdbe")
    interceptor = limit_rate(1, key=lambda call: next(keys), max_keys=2)

    async with open_test_channel([service("trioraft")], interceptors=[interceptor]) as channel:

        async def allowed() -> bool:
            try:
                await CALL["trioraft"](channel, "Unary")
            except GRPCError as error:
                return error.status is not Status.RESOURCE_EXHAUSTED
            return True

        assert [await allowed() for _ in range(4)] == [True, False, True, True]  # a a b c
        assert not await allowed()  # d shares what c has used up
        assert not await allowed()  # b
        await trio.sleep(2)
        assert await allowed()  # e takes the place of a, which has all its tokens


async def test_how_many_at_once() -> None:
    release = trio.Event()

    class Slow(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            await release.wait()
            return EchoReply()

    async with (
        open_test_channel(
            [Slow()], interceptors=[limit_concurrency(2), limit_concurrency(3, key=by_peer)]
        ) as channel,
        trio.open_nursery() as nursery,
    ):
        stub = EchoStub(channel)
        for _ in range(2):
            nursery.start_soon(stub.Unary, EchoRequest())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(GRPCError, match="2 calls are running") as caught:
            await stub.Unary(EchoRequest())
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        await stub.Unary(EchoRequest())


@pytest.mark.parametrize(
    "make",
    [
        lambda: limit_rate(0),
        lambda: limit_rate(float("inf")),
        lambda: limit_rate(float("nan")),
        lambda: limit_rate(1, burst=0.5),
        lambda: limit_rate(1, max_keys=0),
        lambda: limit_concurrency(0),
    ],
)
def test_limits_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()
