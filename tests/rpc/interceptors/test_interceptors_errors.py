"""What comes of errors: refusals, failures of handlers and of interceptors themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import CALL, FLAVOURS, KINDS, Diary, service

from trioraft.rpc import (
    GRPCError,
    Status,
)
from trioraft.rpc.interceptors import ClientCall, ServerCall
from trioraft.rpc.testing import open_test_channel


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["server", "client"])
async def test_refused_before_the_handler(kind: str, end: str) -> None:
    diary = Diary()

    @asynccontextmanager
    async def refuse(call: object) -> AsyncIterator[None]:
        raise GRPCError(Status.PERMISSION_DENIED, "not you")
        yield

    layers = [diary.named("outer"), refuse, diary.named("inner")]
    options = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([EchoBase()], **options) as channel:  # type: ignore[arg-type]
        for flavour in FLAVOURS:
            diary.entries.clear()
            with pytest.raises(GRPCError, match="not you") as caught:
                await CALL[flavour](channel, kind)
            assert caught.value.status is Status.PERMISSION_DENIED
            await trio.testing.wait_all_tasks_blocked()
            assert diary.entries == ["outer in", "outer GRPCError", "outer PERMISSION_DENIED"]


async def test_a_handlers_error_rises_through_the_layers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    diary = Diary()

    class Failing(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            raise KeyError("fruit")

    @asynccontextmanager
    async def translate(call: ServerCall) -> AsyncIterator[None]:
        try:
            yield
        except KeyError as error:
            raise GRPCError(Status.NOT_FOUND, f"no such {error.args[0]}") from error

    layers = [diary.named("outer"), translate, diary.named("inner")]
    async with open_test_channel([Failing()], interceptors=layers) as channel:
        with pytest.raises(GRPCError, match="no such fruit") as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.NOT_FOUND
    assert diary.entries == [
        *("outer in", "inner in"),
        *("inner KeyError", "inner UNKNOWN"),
        *("outer GRPCError", "outer NOT_FOUND"),
    ]
    assert caplog.text == ""  # it was dealt with


async def test_an_interceptors_own_failure_is_the_calls(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def broken(call: ServerCall) -> AsyncIterator[None]:
        yield
        raise ZeroDivisionError

    async with open_test_channel([service("trioraft")], interceptors=[broken]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await CALL["trioraft"](channel, "Unary")
        assert "ZeroDivisionError" in caplog.text
        with pytest.raises(GRPCError):
            await CALL["trioraft"](channel, "Chat")  # others are not harmed


async def test_a_server_may_swallow_an_error_of_a_stream() -> None:
    class Failing(EchoBase):
        async def Expand(self, request: EchoRequest, replies: Any) -> None:
            await replies.send(EchoReply(payload=b"one"))
            raise ZeroDivisionError

    @asynccontextmanager
    async def lenient(call: ServerCall) -> AsyncIterator[None]:
        try:
            yield
        except ZeroDivisionError:
            assert call.outcome is not None

    diary = Diary()
    async with open_test_channel(
        [Failing()], interceptors=[diary.named("outer"), lenient]
    ) as channel:
        assert await CALL["trioraft"](channel, "Expand") == [b"one"]
    assert diary.entries == ["outer in", "outer OK"]


async def test_a_client_can_replace_an_error_but_not_swallow_it() -> None:
    @asynccontextmanager
    async def swallow(call: ClientCall) -> AsyncIterator[None]:
        with suppress(GRPCError):
            yield

    @asynccontextmanager
    async def replace(call: ClientCall) -> AsyncIterator[None]:
        try:
            yield
        except GRPCError as error:
            raise LookupError(error.message) from error

    diary = Diary()
    async with open_test_channel(
        [EchoBase()], client_interceptors=[diary.named("outer"), swallow]
    ) as channel:
        for kind in KINDS:
            with pytest.raises(GRPCError, match="not implemented"):
                await CALL["trioraft"](channel, kind)
    assert diary.entries == 4 * ["outer in", "outer GRPCError", "outer UNIMPLEMENTED"]
    async with open_test_channel([EchoBase()], client_interceptors=[replace]) as channel:
        for kind in KINDS:
            with pytest.raises(LookupError, match="not implemented"):
                await CALL["trioraft"](channel, kind)


async def test_what_the_application_raises_goes_through_a_clients_layers() -> None:
    diary = Diary()
    async with open_test_channel(
        [service("trioraft")], client_interceptors=[diary.named("c")]
    ) as channel:
        with pytest.raises(ZeroDivisionError):
            async with EchoStub(channel).Chat() as (requests, _):
                await requests.send(EchoRequest())
                raise ZeroDivisionError
    assert diary.entries == ["c in", "c ZeroDivisionError", "c CANCELLED"]


async def test_a_block_left_early_is_cancelled() -> None:
    diary = Diary()
    async with open_test_channel(
        [service("trioraft")], client_interceptors=[diary.named("c")]
    ) as channel:
        async with EchoStub(channel).Chat() as (requests, replies):
            await requests.send(EchoRequest(payload=b"a"))
            assert (await replies.receive()).payload == b"a"
    assert diary.entries == ["c in", "c CANCELLED"]


async def test_a_nursery_around_a_handler() -> None:
    class Failing(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            raise GRPCError(Status.ABORTED, "stop")

    @asynccontextmanager
    async def with_nursery(call: ServerCall) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    diary = Diary()
    async with open_test_channel(
        [Failing()], interceptors=[diary.named("outer"), with_nursery]
    ) as channel:
        with pytest.raises(GRPCError, match="stop") as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.ABORTED
    assert diary.entries == ["outer in", "outer ExceptionGroup", "outer ABORTED"]
