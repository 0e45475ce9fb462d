"""Interceptors see and change metadata, both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import CALL, KINDS, service

from trioraft.rpc import (
    Metadata,
    ReplyMetadata,
    current_call,
)
from trioraft.rpc.interceptors import ClientCall, ServerCall
from trioraft.rpc.testing import open_test_channel


async def test_metadata_both_ways() -> None:
    @asynccontextmanager
    async def adds(call: ClientCall) -> AsyncIterator[None]:
        assert call.metadata["kept"] == "yes"
        call.metadata["replaced"] = "new"
        call.metadata.add("more-bin", b"\x00\xff")
        yield
        assert call.initial_metadata is not None
        assert call.initial_metadata.getall("start") == ["interceptor", "handler"]
        assert call.trailing_metadata is not None
        assert call.trailing_metadata["end"] == "after"

    @asynccontextmanager
    async def answers(call: ServerCall) -> AsyncIterator[None]:
        assert call.metadata is call.metadata
        assert (call.metadata["replaced"], call.metadata["more-bin"]) == ("new", b"\x00\xff")
        call.add_initial_metadata({"start": "interceptor"})
        yield
        assert call.trailing_metadata["by"] == "handler"
        call.add_trailing_metadata({"end": "after"})
        assert call.trailing_metadata["end"] == "after"

    class Echo(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            call = current_call()
            assert call.metadata.getall("replaced") == ["new"]
            await call.send_initial_metadata(metadata={"start": "handler"})
            call.set_trailing_metadata({"by": "handler"})
            return EchoReply()

    async with open_test_channel(
        [Echo()], interceptors=[answers], client_interceptors=[adds]
    ) as channel:
        received = ReplyMetadata()
        own = {"kept": "yes", "replaced": "old"}
        await EchoStub(channel).Unary(EchoRequest(), metadata=own, received=received)
    assert received.trailing is not None
    assert (received.trailing["by"], received.trailing["end"]) == ("handler", "after")
    assert own["replaced"] == "old"  # what the caller has is not touched


async def test_metadata_of_a_call_without_its_own() -> None:
    seen: list[Metadata] = []

    @asynccontextmanager
    async def adds(call: ClientCall) -> AsyncIterator[None]:
        call.metadata["x"] = "1"
        yield

    @asynccontextmanager
    async def sees(call: ServerCall) -> AsyncIterator[None]:
        seen.append(call.metadata)
        yield

    async with open_test_channel(
        [service("trioraft")], interceptors=[sees], client_interceptors=[adds]
    ) as channel:
        for kind in KINDS:
            await CALL["trioraft"](channel, kind)
    assert [dict(metadata) for metadata in seen] == [{"x": "1"}] * 4
