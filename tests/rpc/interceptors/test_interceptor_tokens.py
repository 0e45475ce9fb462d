"""Callers are who their tokens say, or are not let in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, FLAVOURS, KINDS, PREFIX, service
from trio.testing import MockClock

from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest
from trioraft.rpc import GRPCError, ServerCall, Status, current_call
from trioraft.rpc.interceptors.tokens import (
    Verify,
    authenticate,
    identity,
    identity_as,
    static_tokens,
)
from trioraft.rpc.services.health import HealthService
from trioraft.rpc.testing import open_test_channel


class WhoAmI(EchoBase):
    """Answers with the caller's identity."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        found: list[str] = []

        async def child() -> None:
            found.append(identity_as(str))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        assert found == [identity()]
        assert "authorization" in current_call().metadata
        return EchoReply(payload=found[0].encode())

    async def Chat(self, requests: Any, replies: Any) -> None:
        identity_as(int)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


TOKENS = static_tokens({"one": "ada", "two": "bob"})


async def test_tokens() -> None:
    async with open_test_channel([WhoAmI()], interceptors=[authenticate(TOKENS)]) as channel:
        stub = EchoStub(channel)
        for token, who in (("one", b"ada"), ("two", b"bob")):
            assert (await stub.Unary(EchoRequest(), metadata=bearer(token))).payload == who
        lower = {"authorization": "bearer  one"}
        assert (await stub.Unary(EchoRequest(), metadata=lower)).payload == b"ada"
        wrong: list[tuple[Any, str]] = [
            (None, "a token is needed"),
            (bearer("three"), "not accepted"),
            (bearer("on"), "not accepted"),
            ({"authorization": "Basic one"}, "a bearer token is needed"),
            ({"authorization": "Bearer"}, "a bearer token is needed"),
            ([("authorization", "Bearer one"), ("authorization", "Bearer two")], "more than one"),
        ]
        for metadata, problem in wrong:
            with pytest.raises(GRPCError, match=problem) as caught:
                await stub.Unary(EchoRequest(), metadata=metadata)
            assert caught.value.status is Status.UNAUTHENTICATED
        with pytest.raises(GRPCError, match="a token is needed"):  # an identity, but no int
            async with stub.Chat(metadata=bearer("one")) as (_, replies):
                await replies.receive()
    assert identity() is None


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", KINDS)
async def test_no_kind_of_call_gets_past(kind: str, flavour: str) -> None:
    async with open_test_channel(
        [service(flavour)], interceptors=[authenticate(TOKENS)]
    ) as channel:
        with pytest.raises(GRPCError) as caught:
            await CALL[flavour](channel, kind)
        assert caught.value.status is Status.UNAUTHENTICATED
        assert await CALL[flavour](channel, kind, metadata=bearer("one")) == ANSWERS[kind]


async def test_health_needs_no_token_and_no_identity_stays_behind() -> None:

    seen = []

    @asynccontextmanager
    async def look(call: ServerCall) -> AsyncIterator[None]:
        seen.append(identity())
        yield

    async with open_test_channel(
        [WhoAmI(), HealthService()], interceptors=[authenticate(TOKENS), look]
    ) as channel:
        for _ in range(2):
            await HealthStub(channel).Check(HealthCheckRequest())
            await EchoStub(channel).Unary(EchoRequest(), metadata=bearer("two"))
    assert seen == [None, "bob", None, "bob"]
    strict = authenticate(TOKENS, exempt=[PREFIX + "Expand"])
    async with open_test_channel(
        [service("trioraft"), HealthService()], interceptors=[strict]
    ) as channel:
        assert await CALL["trioraft"](channel, "Expand") == ANSWERS["Expand"]
        with pytest.raises(GRPCError, match="a token is needed"):
            await HealthStub(channel).Check(HealthCheckRequest())


async def test_verifying_may_wait_and_fail(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask(token: str, call: ServerCall) -> object | None:
        await trio.sleep(1)
        if token == "broken":
            raise ZeroDivisionError
        if token == "elsewhere":
            raise GRPCError(Status.UNAVAILABLE, "the token service is down")
        return {"token": token, "method": call.method}

    verify: Verify = ask
    async with open_test_channel(
        [service("trioraft")], interceptors=[authenticate(verify)]
    ) as channel:
        stub = EchoStub(channel)
        await stub.Unary(EchoRequest(), metadata=bearer("good"))
        for token, timeout, status in (
            ("broken", None, Status.UNKNOWN),
            ("elsewhere", None, Status.UNAVAILABLE),
            ("good", 0.5, Status.DEADLINE_EXCEEDED),
        ):
            with pytest.raises(GRPCError) as caught:
                await stub.Unary(EchoRequest(), metadata=bearer(token), timeout=timeout)
            assert caught.value.status is status
    assert "ZeroDivisionError" in caplog.text
