"""Interceptors around what has a way of its own: statuses sent by hand, calls in place, sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, running, serving
from echo_trio import EchoStub
from intercepted_echo import ANSWERS, CALL, KINDS, Diary, service

from trioraft.rpc import (
    Cardinality,
    ClientInterceptor,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    ServerCall,
    ServerStream,
    Status,
    open_channel,
)
from trioraft.rpc.testing import open_test_channel


async def test_the_status_that_a_handler_has_sent() -> None:
    async def handle(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        await stream.send_trailing_metadata(status=Status.DATA_LOSS, status_message="gone")

    class Losing:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    outcomes = []

    @asynccontextmanager
    async def late(call: ServerCall) -> AsyncIterator[None]:
        yield
        outcomes.append(call.outcome)
        raise GRPCError(Status.ABORTED, "too late")

    async with open_test_channel([Losing()], interceptors=[late]) as channel:
        with pytest.raises(GRPCError, match="gone") as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.DATA_LOSS
    [outcome] = outcomes
    assert outcome is not None
    assert (outcome.status, outcome.message, outcome.ok) == (Status.DATA_LOSS, "gone", False)


async def test_no_reply_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(stream: object) -> None:
        pass

    class Silent:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    diary = Diary()
    async with open_test_channel([Silent()], interceptors=[diary.named("s")]) as channel:
        with pytest.raises(GRPCError):
            await EchoStub(channel).Unary(EchoRequest())
    assert diary.entries == ["s in", "s UNKNOWN"]


async def test_calls_with_interceptors_are_not_tried_in_place() -> None:
    async def func(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"task"))

    def in_place(call: InPlaceCall[EchoReply, EchoRequest], request: EchoRequest) -> bool:
        call.respond(EchoReply(payload=b"in place"))
        return True

    class Quick:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: InPlaceHandler(func, EchoRequest, EchoReply, in_place)}

    diary = Diary()
    for interceptors, expected in (((), b"in place"), ((diary.named("s"),), b"task")):
        async with open_test_channel([Quick()], interceptors=interceptors) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest())
            assert reply.payload == expected
    assert diary.entries == ["s in", "s OK"]


# ---- over sockets --------------------------------------------------------------------------------


async def test_peers_over_sockets() -> None:
    peers: list[str] = []

    @asynccontextmanager
    async def sees(call: Any) -> AsyncIterator[None]:
        yield
        peers.append(str(call.peer))

    async with (
        serving([service("trioraft")], interceptors=[sees]) as address,
        open_channel(address, interceptors=[sees]) as channel,
    ):
        for kind in KINDS:
            assert await CALL["trioraft"](channel, kind) == ANSWERS[kind]
    assert len(peers) == 8
    assert peers.count(address) == 4
    assert all(peer.startswith("127.0.0.1:") for peer in peers)


async def test_a_call_that_finds_no_server() -> None:
    diary = Diary()
    async with running([service("trioraft")]) as channel:
        dead = channel.target
    layers: list[ClientInterceptor] = [diary.named("c")]
    async with open_channel(dead, interceptors=layers) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.UNAVAILABLE
    assert diary.entries == ["c in", "c GRPCError", "c UNAVAILABLE"]
