"""What handlers of generated code may do, and how they mix with those of grpclib's plugin."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import trio

from trioraft.rpc import GRPCError, Status, current_call
from trioraft.rpc.testing import open_test_channel


async def test_handlers_run_on_trios_own_channels(text: Any, service: Any) -> None:
    """So they can be tested without any RPC."""
    give, requests = trio.open_memory_channel[Any](10)
    replies, take = trio.open_memory_channel[Any](10)
    async with give:
        await give.send(text(text="a"))
    await service.Echo(requests, replies)
    replies.close()
    assert [reply.text async for reply in take] == ["a", "bye"]


async def test_a_handler_closes_its_channels(calls: Any, text: Any) -> None:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Echo(self, requests: Any, replies: Any) -> None:
            async with replies, requests:
                await replies.send(await requests.receive())
            for use in (requests.receive, requests.__aiter__, partial_send(replies)):
                with pytest.raises(trio.ClosedResourceError):
                    await use()
            raise GRPCError(Status.DATA_LOSS, "closing replies decides nothing")

    def partial_send(replies: Any) -> Any:
        return lambda: replies.send(text())

    async with open_test_channel([Calls()]) as channel:
        async with calls.CallsStub(channel).Echo() as (requests, replies):
            await requests.send(text(text="a"))
            assert (await replies.receive()).text == "a"
            with pytest.raises(GRPCError) as caught:
                await replies.receive()
    assert caught.value.status is Status.DATA_LOSS


async def test_a_handler_sees_the_requests_end(calls: Any, text: Any) -> None:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Join(self, requests: Any) -> Any:
            first = await requests.receive()
            with pytest.raises(trio.EndOfChannel):
                await requests.receive()
            return first

    async with open_test_channel([Calls()]) as channel:
        async with calls.CallsStub(channel).Join() as upload:
            await upload.send(text(text="a"))
            assert (await upload.reply()).text == "a"


async def test_both_plugins_mix(calls: Any, text: Any, service: Any) -> None:
    """A service by one plugin is called by a stub of the other, on one server and channel."""
    old = importlib.import_module("calls_grpc")
    echo = importlib.import_module("echo_service").Echo()
    echo_grpc, echo_pb2 = importlib.import_module("echo_grpc"), importlib.import_module("echo_pb2")
    async with open_test_channel([service, echo]) as channel:
        stub = old.CallsStub(channel)
        assert (await stub.Upper(text(text="a"))).text == "A"
        assert [reply.text for reply in await stub.Spell(text(text="abc"))] == ["a", "b", "c"]
        assert (await stub.Join([text(text="a")])).text == "a"
        reply = await echo_grpc.EchoStub(channel).Unary(echo_pb2.EchoRequest(payload=b"a"))
        assert reply.payload == b"a"


async def test_a_handler_of_grpclib_has_no_current_call(calls: Any, text: Any) -> None:
    old = importlib.import_module("calls_grpc")

    class Calls(old.CallsBase):  # type: ignore[misc]
        async def Upper(self, stream: Any) -> None:
            with pytest.raises(RuntimeError, match="no handler"):
                current_call()
            await stream.send_message(await stream.recv_message())

        Spell = Join = Echo = Missing = Former = Upper

    async with open_test_channel([Calls()]) as channel:
        assert (await calls.CallsStub(channel).Upper(text(text="a"))).text == "a"
