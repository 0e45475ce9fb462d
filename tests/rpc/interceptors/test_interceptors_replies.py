"""Interceptors that look at requests, and that reply themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY
from echo_trio import EchoBase
from intercepted_echo import ANSWERS, CALL, FLAVOURS, Diary, service

from trioraft.rpc import (
    Cardinality,
    ClientCall,
    GRPCError,
    Handler,
    ProtocolError,
    ServerCall,
    ServerStream,
)
from trioraft.rpc.testing import open_test_channel


class Cache:
    """Unary replies by their request's payload, on either end."""

    def __init__(self) -> None:
        self.replies: dict[bytes, EchoReply] = {}

    @asynccontextmanager
    async def server(self, call: ServerCall) -> AsyncIterator[None]:
        request = await call.request()
        assert request is await call.request()
        hit = self.replies.get(request.payload)
        if hit is not None:
            call.respond(hit)
        else:
            call.on_send(lambda reply: self.replies.update({request.payload: reply}))
        yield

    @asynccontextmanager
    async def client(self, call: ClientCall) -> AsyncIterator[None]:
        asked: list[bytes] = []

        def look(request: EchoRequest) -> None:
            asked.append(request.payload)
            if (hit := self.replies.get(request.payload)) is not None:
                call.respond(hit)

        call.on_send(look)
        call.on_receive(lambda reply: self.replies.update({asked[0]: reply}))
        yield


class Counting(EchoBase):
    """Counts its calls."""

    calls = 0

    async def Unary(self, request: EchoRequest) -> EchoReply:
        self.calls += 1
        return EchoReply(payload=request.payload, index=self.calls)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("end", ["server", "client"])
async def test_a_cache(end: str, flavour: str) -> None:
    diary, echo, cache = Diary(), Counting(), Cache()
    layers: list[Any] = [diary.named("outer"), getattr(cache, end), diary.named("inner")]
    options: Any = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([echo], **options) as channel:
        for _ in range(3):
            assert await CALL[flavour](channel, "Unary") == [b"ab"]
        await trio.testing.wait_all_tasks_blocked()
    assert echo.calls == 1
    assert cache.replies[b"ab"].index == 1
    first, hit = diary.entries[:4], diary.entries[4:6]
    assert first == ["outer in", "inner in", "inner OK", "outer OK"]
    # Inside a server's answer nothing is entered; a client only knows its request later.
    assert hit == (["outer in", "outer OK"] if end == "server" else ["outer in", "inner in"])


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", ["Unary", "Collect"])
@pytest.mark.parametrize("end", ["server", "client"])
async def test_answered_before_anything_is_done(end: str, kind: str, flavour: str) -> None:
    diary = Diary()

    @asynccontextmanager
    async def answers(call: Any) -> AsyncIterator[None]:
        call.respond(EchoReply(payload=b"mine"))
        with pytest.raises(ProtocolError, match="answered already"):
            call.respond(EchoReply())
        yield
        assert call.outcome.ok

    layers = [diary.named("outer"), answers, diary.named("inner")]
    options: Any = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([EchoBase()], **options) as channel:
        assert await CALL[flavour](channel, kind) == [b"mine"]
        await trio.testing.wait_all_tasks_blocked()
    assert diary.entries == ["outer in", "outer OK"]
    if end == "client":
        [call] = diary.calls
        assert isinstance(call, ClientCall)
        assert call.peer is None  # nothing was sent, and nobody was connected to
        assert call.initial_metadata == call.trailing_metadata == {}


async def test_only_single_replies_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def answers(call: Any) -> AsyncIterator[None]:
        call.respond(EchoReply())
        yield

    async with open_test_channel([service("trioraft")], client_interceptors=[answers]) as channel:
        for kind in ("Expand", "Chat"):
            with pytest.raises(ProtocolError, match="one reply"):
                await CALL["trioraft"](channel, kind)
    async with open_test_channel([service("trioraft")], interceptors=[answers]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await CALL["trioraft"](channel, "Expand")
    assert "an interceptor can only answer a call with one reply" in caplog.text


async def test_too_late_to_answer() -> None:
    @asynccontextmanager
    async def late(call: ClientCall) -> AsyncIterator[None]:
        yield
        call.respond(EchoReply())

    async with open_test_channel([service("trioraft")], client_interceptors=[late]) as channel:
        with pytest.raises(ProtocolError, match="was sent already"):
            await CALL["trioraft"](channel, "Unary")


async def test_a_wrong_answer_is_the_servers_failure(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def answers(call: ServerCall) -> AsyncIterator[None]:
        call.respond("no message")
        yield

    async with open_test_channel([service("trioraft")], interceptors=[answers]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await CALL["trioraft"](channel, "Unary")
    assert "this call sends EchoReply, not str" in caplog.text


# ---- looking at the request ----------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_request_is_looked_at_and_changed(flavour: str) -> None:
    @asynccontextmanager
    async def changes(call: ServerCall) -> AsyncIterator[None]:
        if call.cardinality.client_streaming:
            with pytest.raises(ProtocolError, match="streams its requests"):
                await call.request()
        else:
            (await call.request()).payload += b"!"
        yield

    async with open_test_channel([service(flavour)], interceptors=[changes]) as channel:
        assert await CALL[flavour](channel, "Unary", timeout=5) == [b"ab!"]
        assert await CALL[flavour](channel, "Expand", timeout=5) == [b"ab!", b"ab!"]
        assert await CALL[flavour](channel, "Chat") == ANSWERS["Chat"]


async def test_only_the_first_message_is_what_was_looked_at() -> None:
    async def handle(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        payloads = [request.payload async for request in stream]
        await stream.send_message(EchoReply(payload=b"+".join(payloads)))

    class Two:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    @asynccontextmanager
    async def looks(call: ServerCall) -> AsyncIterator[None]:
        assert (await call.request()).payload == b"a"
        yield
        assert (await call.request()).payload == b"a"

    @asynccontextmanager
    async def looks_late(call: ServerCall) -> AsyncIterator[None]:
        yield
        with pytest.raises(ProtocolError, match="has taken"):
            await call.request()

    for interceptor in (looks, looks_late):
        async with open_test_channel([Two()], interceptors=[interceptor]) as channel:
            async with channel.request(
                UNARY, Cardinality.STREAM_UNARY, EchoRequest, EchoReply
            ) as call:
                await call.send_message(EchoRequest(payload=b"a"))
                await call.send_message(EchoRequest(payload=b"b"), end=True)
                assert (await call.recv_message()).payload == b"a+b"


async def test_a_request_that_does_not_come_or_decode(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def looks(call: ServerCall) -> AsyncIterator[None]:
        await call.request()
        yield

    class Bytes:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def SerializeToString(self) -> bytes:
            return self.data

    async with open_test_channel([service("trioraft")], interceptors=[looks]) as channel:
        with pytest.raises(GRPCError, match="without a request"):
            async with channel.request(
                UNARY, Cardinality.STREAM_UNARY, EchoRequest, EchoReply
            ) as call:
                await call.send_request(end=True)
        with pytest.raises(GRPCError, match="cannot decode EchoRequest"):
            async with channel.request(UNARY, Cardinality.UNARY_UNARY, Bytes, EchoReply) as call:
                await call.send_message(Bytes(b"\xff"))
