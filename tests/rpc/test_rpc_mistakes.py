"""What newcomers do wrong first: each is told what to do instead."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub

import trioraft
from trioraft.machines.counter import CounterMachine
from trioraft.rpc import GRPCError, Status, open_channel, open_server, serve
from trioraft.rpc.testing import open_test_channel


class Echo(EchoBase):
    async def Unary(self, request: EchoRequest) -> EchoReply:
        return EchoReply(payload=request.payload)


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("open_channel", lambda: open_channel("127.0.0.1:1")),
        ("open_server", lambda: open_server([Echo()], port=0)),
        ("open_client", lambda: trioraft.open_client("127.0.0.1:1")),
        ("open_server", lambda: trioraft.open_server(id="n", listen="127.0.0.1:1")),
        (
            "open_node",
            lambda: trioraft.open_node(id="n", peers="n=127.0.0.1:1", machine=CounterMachine()),
        ),
    ],
)
def test_asyncio_runs_none_of_this(
    name: str, opened: Callable[[], AbstractAsyncContextManager[Any]]
) -> None:
    async def main() -> None:
        async with opened():
            pass

    with pytest.raises(RuntimeError, match=rf"{name} needs a running Trio: .*trio\.run\(main\)"):
        asyncio.run(main())


def test_asyncio_does_not_serve() -> None:
    with pytest.raises(RuntimeError, match="serve needs a running Trio"):
        asyncio.run(serve([Echo()], port=0))


@pytest.mark.parametrize(
    ("services", "told"),
    [
        (Echo(), r"services must be a list.*\[service\]"),
        ([Echo], r"Echo is a class: serve an instance, Echo\(\)"),
        ([len], "is no service: derive its class from a generated ...Base"),
    ],
)
async def test_what_is_no_list_of_services(services: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        await serve(services, port=0)


class Yields(EchoBase):
    async def Expand(self, request: EchoRequest, replies: Any) -> Any:
        yield EchoReply()


class TakesAContext(EchoBase):
    async def Unary(self, request: EchoRequest, context: object) -> EchoReply:  # type: ignore[override]
        return EchoReply()


class TakesNoReplies(EchoBase):
    async def Expand(self, request: EchoRequest) -> None:  # type: ignore[override]
        return None


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (Yields(), r"Yields\.Expand yields; .*await replies\.send\(reply\)"),
        (TakesAContext(), r"TakesAContext\.Unary: .*'context'.*current_call\(\)"),
        (TakesNoReplies(), r"`async def Expand\(self, request, replies\)`"),
    ],
)
async def test_handlers_of_another_form_are_not_served(service: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        await serve([service], port=0)


async def test_a_handler_that_is_not_async_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Plain(EchoBase):
        def Unary(self, request: EchoRequest) -> EchoReply:  # type: ignore[override]
            return EchoReply()

    async with open_test_channel([Plain()]) as channel:
        with pytest.raises(GRPCError) as raised:
            await EchoStub(channel).Unary(EchoRequest())
    assert raised.value.status is Status.UNKNOWN
    assert "Plain.Unary is not async; a handler is `async def Unary(self, request)`" in caplog.text


async def test_a_handler_may_hand_over_to_another() -> None:
    class Hands(EchoBase):
        def Unary(self, request: EchoRequest) -> Awaitable[EchoReply]:  # type: ignore[override]
            return Echo().Unary(request)

    async with open_test_channel([Hands()]) as channel:
        assert (await EchoStub(channel).Unary(EchoRequest(payload=b"a"))).payload == b"a"


@pytest.mark.parametrize("target", [("127.0.0.1", 50051), 50051, None])
def test_a_target_is_a_string(target: Any) -> None:
    with pytest.raises(TypeError, match="expected a string, such as 'host:port'"):
        open_channel(target)


@pytest.mark.parametrize("target", ["http://a:1", "https://a", "grpc://a:1"])
def test_a_target_is_no_url(target: str) -> None:
    with pytest.raises(ValueError, match="write host:port, and give ssl_context"):
        open_channel(target)


async def test_tls_to_a_server_without() -> None:
    context = ssl.create_default_context()
    async with open_server([Echo()], host="127.0.0.1", port=0) as server:
        [(_, port)] = server.addresses
        async with open_channel(f"localhost:{port}", ssl_context=context) as channel:
            with trio.fail_after(30), pytest.raises(GRPCError, match="does the server use TLS"):
                await EchoStub(channel).Unary(EchoRequest())
