"""Compression with what `protoc-gen-trioraft` generates: stubs' keyword, handlers' current call."""

from __future__ import annotations

from typing import Any

from compression_wire import Wire
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub

from trioraft.rpc import current_call
from trioraft.rpc.testing import open_test_channel

TEXT = b"to be or not to be " * 50


class Choosing(EchoBase):
    """Answers with the encoding that it is asked for."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        current_call().set_compression(request.payload.decode().split()[0])
        return EchoReply(payload=request.payload)

    async def Chat(self, requests: Any, replies: Any) -> None:
        current_call().set_compression("gzip")
        async for request in requests:
            flag = current_call().message_compressed
            reply = EchoReply(payload=request.payload, index=int(flag))
            await current_call().send_message(reply, compress=flag)


async def test_a_stub_and_a_handler_choose(wire: Wire) -> None:
    async with open_test_channel([Choosing()], client_compression="deflate") as channel:
        stub = EchoStub(channel)
        for back, options in (
            ("gzip", {}),
            ("identity", {"compression": "gzip"}),
            ("deflate", {"compression": "identity"}),
        ):
            payload = back.encode() + b" " * 200
            assert (await stub.Unary(EchoRequest(payload=payload), **options)).payload == payload
    assert wire.flags == [1, 1, 1, 0, 0, 1]
    assert [request.get(b"grpc-encoding") for request in wire.requests] == [
        b"deflate",
        b"gzip",
        None,
    ]


async def test_one_message_of_a_stream(wire: Wire) -> None:
    async with (
        open_test_channel([Choosing()]) as channel,
        EchoStub(channel).Chat(compression="gzip") as (requests, replies),
    ):
        for compress in (True, False, True):
            await requests.stream.send_message(EchoRequest(payload=TEXT), compress=compress)
            assert (await replies.receive()).index == compress
        await requests.send(EchoRequest(payload=TEXT))
        assert (await replies.receive()).index == 1
        await requests.aclose()
    assert wire.flags == [1, 1, 0, 0, 1, 1, 1, 1]
