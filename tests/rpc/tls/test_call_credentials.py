"""Call credentials: who gets to see them, and what becomes of calls without."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from _authority import Authority, Signed
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, One, chat

from trioraft.rpc import (
    CallInfo,
    Cardinality,
    GRPCError,
    Status,
    client_tls,
    open_channel,
    open_server,
    server_tls,
)
from trioraft.rpc.client.naming.target import parse_target
from trioraft.rpc.credentials import stays_here
from trioraft.rpc.testing import MemoryListener

SECRET = "s3cret"


async def bearer(call: CallInfo) -> dict[str, str]:
    await trio.lowlevel.checkpoint()
    return {"authorization": f"Bearer {SECRET}"}


async def show(stream: Any) -> None:
    """Answers with the caller's metadata."""
    await stream.recv_message()
    shown = sorted(f"{key}={value}" for key, value in stream.metadata.items())
    await stream.send_message(EchoReply(payload="\n".join(shown).encode()))


@asynccontextmanager
async def channel(**options: Any) -> AsyncIterator[Any]:
    """To a server in memory that shows what it gets."""
    listener = MemoryListener()
    async with open_server([One(show), chat(show)], listeners=[listener]):
        async with open_channel("memory", dial=listener.dial, **options) as opened:
            yield opened


async def ask(opened: Any, **options: Any) -> str:
    kind = Cardinality.UNARY_UNARY
    async with opened.request(
        "/trioraft.testing.Echo/Unary", kind, EchoRequest, EchoReply, **options
    ) as call:
        await call.send_message(EchoRequest())
        reply = await call.recv_message()
        text: str = reply.payload.decode()
        return text


async def test_over_tls_with_all_that_they_know(authority: Authority, server_cert: Signed) -> None:
    seen: list[CallInfo] = []

    async def jwt(call: CallInfo) -> list[tuple[str, str]]:
        seen.append(call)
        return [("authorization", f"Bearer for {call.service_url}")]

    tls = server_tls(server_cert.cert, server_cert.key)
    async with open_server([One(show)], port=0, ssl_context=tls) as server:
        port = server.addresses[0][1]
        async with open_channel(
            f"localhost:{port}", ssl_context=client_tls(ca=authority.cert), credentials=jwt
        ) as opened:
            reply = await EchoStub(opened).Unary(EchoRequest(), timeout=10)
            url = f"https://localhost:{port}/trioraft.testing.Echo"
            assert reply.payload.decode() == f"authorization=Bearer for {url}"
    assert seen == [CallInfo(url, "Unary")]


async def test_the_usual_port_is_left_out() -> None:
    seen: list[str] = []

    async def note(call: CallInfo) -> dict[str, str]:
        seen.append(call.service_url)
        return {}

    async with channel(
        credentials=note, insecure_credentials=True, authority="example.org:443"
    ) as opened:
        await ask(opened)
    assert seen == ["https://example.org/trioraft.testing.Echo"]


@pytest.mark.parametrize(
    "target", ["example.org:50051", "10.0.0.1:1", "ipv4:127.0.0.1:1,10.0.0.1:1"]
)
def test_not_in_the_clear(target: str) -> None:
    with pytest.raises(ValueError, match="call credentials need TLS"):
        open_channel(target, credentials=bearer)
    open_channel(target, credentials=bearer, insecure_credentials=True)


@pytest.mark.parametrize(
    "target", ["unix:a.sock", "unix-abstract:a", "localhost:1", "127.0.0.1:1", "[::1]:1"]
)
def test_within_this_machine_they_are_safe(target: str) -> None:
    assert stays_here(parse_target(target))
    open_channel(target, credentials=bearer)


async def test_for_one_call() -> None:
    async with channel(insecure_credentials=True) as opened:
        assert await ask(opened, credentials=bearer) == f"authorization=Bearer {SECRET}"
        assert await ask(opened) == ""
    async with channel() as opened:
        with pytest.raises(GRPCError, match="need TLS") as caught:
            await ask(opened, credentials=bearer)
        assert caught.value.status is Status.UNAUTHENTICATED
        assert await ask(opened) == ""


async def test_several_and_metadata_of_the_calls_own() -> None:
    async def more(call: CallInfo) -> list[tuple[str, str]]:
        return [("x-user", "ada"), ("x-user", "eva")]

    async with channel(credentials=[bearer, more], insecure_credentials=True) as opened:
        shown = await ask(opened, metadata={"x-own": "1"}, credentials=more)
    assert shown.split("\n") == [
        f"authorization=Bearer {SECRET}", "x-own=1", *2 * ["x-user=ada"], *2 * ["x-user=eva"]
    ]  # fmt: skip


async def test_streams_have_them_too() -> None:
    async with channel(credentials=bearer, insecure_credentials=True) as opened:
        async with opened.request(CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply) as call:
            await call.send_message(EchoRequest(), end=True)
            assert SECRET in (await call.recv_message()).payload.decode()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(f"no way to {SECRET}"), Status.UNAVAILABLE),
        (GRPCError(Status.UNAUTHENTICATED, "log in first"), Status.UNAUTHENTICATED),
        (GRPCError(Status.PERMISSION_DENIED, "no"), Status.PERMISSION_DENIED),
        (GRPCError(Status.NOT_FOUND, SECRET), Status.INTERNAL),
        (GRPCError(Status.OK, SECRET), Status.INTERNAL),
    ],
)
async def test_credentials_that_fail(
    error: Exception, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def broken(call: CallInfo) -> dict[str, str]:
        raise error

    async with channel(credentials=broken, insecure_credentials=True) as opened:
        with pytest.raises(GRPCError) as caught:
            await ask(opened)
    assert caught.value.status is status
    assert SECRET not in str(caught.value.message)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("metadata", [{"authorization": f"{SECRET}\n"}, {"grpc-x": SECRET}])
async def test_metadata_that_is_not_valid(metadata: dict[str, str]) -> None:
    async def broken(call: CallInfo) -> dict[str, str]:
        return metadata

    async with channel(credentials=broken, insecure_credentials=True) as opened:
        with pytest.raises(GRPCError, match="not valid") as caught:
            await ask(opened)
    assert caught.value.status is Status.INTERNAL
    assert caught.value.__cause__ is None


async def test_they_are_asked_within_the_deadline(autojump_clock: object) -> None:
    async def slow(call: CallInfo) -> dict[str, str]:
        await trio.sleep_forever()
        raise AssertionError

    async with channel(credentials=slow, insecure_credentials=True) as opened:
        with pytest.raises(GRPCError) as caught:
            await ask(opened, timeout=3)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() == pytest.approx(3, abs=0.1)
