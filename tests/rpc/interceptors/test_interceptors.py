"""Interceptors of either end: every kind of call, in which order, and which calls have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, COUNTS, FLAVOURS, KINDS, PREFIX, Diary, service
from trio.testing import MockClock

from trioraft.rpc import (
    Cardinality,
    GRPCError,
    Intercepted,
    Limited,
    Status,
)
from trioraft.rpc.interceptors import ClientCall, End, Outcome, ServerCall, plain
from trioraft.rpc.testing import open_test_channel


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("handlers", FLAVOURS)
@pytest.mark.parametrize("stubs", FLAVOURS)
async def test_the_first_is_outermost(kind: str, handlers: str, stubs: str) -> None:
    diary = Diary()
    async with open_test_channel(
        [service(handlers)],
        interceptors=[diary.named("s1"), diary.named("s2")],
        client_interceptors=[diary.named("c1"), diary.named("c2")],
    ) as channel:
        assert await CALL[stubs](channel, kind) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    entries = diary.entries
    assert entries[:4] == ["c1 in", "c2 in", "s1 in", "s2 in"]
    assert [e for e in entries[4:] if e[0] == "s"] == ["s2 OK", "s1 OK"]
    assert [e for e in entries[4:] if e[0] == "c"] == ["c2 OK", "c1 OK"]
    for call in diary.calls:
        assert (call.method, call.name) == (PREFIX + kind, kind)
        assert call.service == "trioraft.testing.Echo"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_messages_and_bytes_are_seen(kind: str, flavour: str) -> None:
    seen: dict[str, list[Any]] = {"s<": [], "s>": [], "c>": [], "c<": []}
    traffic = []

    def watch(end: str) -> Any:
        @asynccontextmanager
        async def interceptor(call: ServerCall | ClientCall) -> AsyncIterator[None]:
            call.on_receive(lambda message: seen[f"{end}<"].append(message.payload))
            call.on_send(lambda message: seen[f"{end}>"].append(message.payload))
            traffic.append(call.measure())
            assert call.measure() is traffic[-1]
            yield

        return interceptor

    async with open_test_channel(
        [service(flavour)], interceptors=[watch("s")], client_interceptors=[watch("c")]
    ) as channel:
        assert await CALL[flavour](channel, kind) == ANSWERS[kind]
    there, back = COUNTS[kind]
    assert seen["c>"] == seen["s<"] == ([b"ab"] if there == 1 else [b"a", b"b"])
    assert seen["s>"] == seen["c<"] == ANSWERS[kind]
    client, server = traffic
    assert (client.sent, client.received) == (server.received, server.sent) == (there, back)
    assert client.sent_bytes == server.received_bytes > 2 * there
    assert client.received_bytes == server.sent_bytes > 2 * back


async def test_hooks_change_messages_from_layer_to_layer() -> None:
    def mark(letter: bytes) -> Any:
        @asynccontextmanager
        async def interceptor(call: ServerCall | ClientCall) -> AsyncIterator[None]:
            def change(message: Any) -> Any:
                return type(message)(payload=message.payload + letter)

            call.on_send(change)
            call.on_receive(change)
            yield

        return interceptor

    async with open_test_channel(
        [service("trioraft")],
        interceptors=[mark(b"3"), mark(b"4")],
        client_interceptors=[mark(b"1"), mark(b"2")],
    ) as channel:
        for kind in ("Unary", "Chat"):
            for answer in await CALL["trioraft"](channel, kind):
                assert answer.endswith(b"12344321")


async def test_a_hook_may_refuse_a_message() -> None:
    @asynccontextmanager
    async def picky(call: ServerCall) -> AsyncIterator[None]:
        def check(message: EchoRequest) -> None:
            if message.payload == b"b":
                raise GRPCError(Status.INVALID_ARGUMENT, "no b")

        call.on_receive(check)
        yield

    async with open_test_channel([service("trioraft")], interceptors=[picky]) as channel:
        with pytest.raises(GRPCError, match="no b") as caught:
            await CALL["trioraft"](channel, "Chat")
        assert caught.value.status is Status.INVALID_ARGUMENT


async def test_a_hook_that_fails_ends_its_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def broken(call: Any) -> AsyncIterator[None]:
        call.on_receive(lambda message: 1 // (message.payload != b"ab"))
        yield

    async with open_test_channel([service("trioraft")], interceptors=[broken]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error") as caught:
            await CALL["trioraft"](channel, "Unary")
        assert caught.value.status is Status.UNKNOWN
    assert "hook failed" in caplog.text
    async with open_test_channel([service("trioraft")], client_interceptors=[broken]) as channel:
        with pytest.raises(GRPCError, match="ZeroDivisionError") as caught:
            await CALL["trioraft"](channel, "Unary")
        assert caught.value.status is Status.INTERNAL


# ---- without generators --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["server", "client"])
async def test_plain_interceptors(end: str, kind: str) -> None:
    outcomes: list[Outcome] = []
    diary = Diary()

    @plain
    def watched(call: Any) -> End:
        call.measure()
        return outcomes.append

    @plain
    def strict(call: Any) -> None:
        if call.metadata.get("token") != "t":
            raise GRPCError(Status.PERMISSION_DENIED, "no token")

    layers = [watched, strict, diary.named("inner")]
    options: Any = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([service("trioraft")], **options) as channel:
        with pytest.raises(GRPCError, match="no token"):
            await CALL["trioraft"](channel, kind)
        assert await CALL["trioraft"](channel, kind, metadata={"token": "t"}) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    assert [outcome.status for outcome in outcomes] == [Status.PERMISSION_DENIED, Status.OK]
    assert diary.entries == ["inner in", "inner OK"]


async def test_plain_interceptors_let_errors_pass_and_may_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outcomes: list[Outcome] = []

    @plain
    def watched(call: ServerCall) -> End:
        if call.name == "Collect":
            call.respond(EchoReply(payload=b"mine"))
        return outcomes.append

    class Failing(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            raise ZeroDivisionError

    async with open_test_channel([Failing()], interceptors=[watched]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await EchoStub(channel).Unary(EchoRequest())
        assert await CALL["trioraft"](channel, "Collect") == [b"mine"]
    assert [outcome.status for outcome in outcomes] == [Status.UNKNOWN, Status.OK]
    assert "ZeroDivisionError" in caplog.text


# ---- which calls have interceptors ---------------------------------------------------------------


async def test_a_service_with_interceptors_of_its_own() -> None:
    diary = Diary()
    path = "/other.Service/Method"

    async def handle(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply())

    inner = Intercepted(Limited(service("trioraft"), 10), [diary.named("own")])
    services = [inner, One(handle, path=path)]
    async with open_test_channel(services, interceptors=[diary.named("all")]) as channel:
        await CALL["trioraft"](channel, "Unary")
        assert diary.entries == ["all in", "own in", "own OK", "all OK"]
        with pytest.raises(GRPCError, match="limit of 10"):
            await EchoStub(channel).Unary(EchoRequest(payload=b"x" * 20))
        diary.entries.clear()
        async with channel.request(path, Cardinality.UNARY_UNARY, EchoRequest, EchoReply) as stream:
            await stream.send_message(EchoRequest())
            assert await stream.recv_message() == EchoReply()
        assert diary.entries == ["all in", "all OK"]


async def test_an_hour_passes_at_once(autojump_clock: MockClock) -> None:
    took = []

    @asynccontextmanager
    async def timed(call: ServerCall) -> AsyncIterator[None]:
        started = trio.current_time()
        await trio.sleep(1800)
        yield
        await trio.sleep(1800)
        took.append(trio.current_time() - started)

    async with open_test_channel([service("trioraft")], interceptors=[timed]) as channel:
        assert await CALL["trioraft"](channel, "Unary") == [b"ab"]
    assert took == [pytest.approx(3600)]
