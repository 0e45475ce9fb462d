"""Compression between our own ends: every way to choose it."""

from __future__ import annotations

import random
from typing import Any

import pytest
from compression_kit import BZIP2, TEXT, channel_and_server
from compression_wire import Wire
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, Echo, One, chat

from trioraft.rpc import Cardinality, Compression, InPlaceCall, InPlaceHandler, ProtocolError
from trioraft.rpc.compression import CODECS

NAMES = [codec.name for codec in CODECS]


@pytest.mark.parametrize("name", NAMES)
async def test_all_kinds_of_calls(name: str, wire: Wire) -> None:
    async with channel_and_server(Echo(), name, name) as channel:
        stub = EchoStub(channel)
        assert (await stub.Unary(EchoRequest(payload=TEXT))).payload == TEXT
        replies = await stub.Expand(EchoRequest(payload=TEXT, count=3))
        assert [reply.payload for reply in replies] == [TEXT] * 3
        collected = await stub.Collect([EchoRequest(payload=TEXT)] * 3)
        assert collected.payload == TEXT * 3
        replies = await stub.Chat([EchoRequest(payload=TEXT)] * 3)
        assert [reply.payload for reply in replies] == [TEXT] * 3
    assert wire.flags == [1] * (2 + 4 + 4 + 6)
    accept = b"identity," + ",".join(NAMES).encode()
    for headers in wire.requests + wire.responses:
        assert headers[b"grpc-encoding"] == name.encode()
        assert headers[b"grpc-accept-encoding"] == accept


async def test_nothing_is_compressed_unasked(wire: Wire) -> None:
    async with channel_and_server(Echo()) as channel:
        await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
    assert wire.flags == [0, 0]
    [request], [response] = wire.requests, wire.responses
    assert b"grpc-encoding" not in request
    assert request[b"grpc-accept-encoding"].startswith(b"identity,deflate,gzip")
    assert response.keys() == {b":status", b"content-type"}


async def test_a_call_chooses_instead_of_its_channel(wire: Wire) -> None:
    async with channel_and_server(Echo(), "gzip") as channel:

        async def call(**options: Any) -> None:
            kind = Cardinality.UNARY_UNARY
            async with channel.request(UNARY, kind, EchoRequest, EchoReply, **options) as stream:
                await stream.send_message(EchoRequest(payload=TEXT))
                await stream.recv_message()

        await call()
        await call(compression="deflate")
        await call(compression="identity")
        with pytest.raises(ValueError, match="'brotli' is not known here"):
            await call(compression="brotli")
    assert [request.get(b"grpc-encoding") for request in wire.requests] == [
        b"gzip",
        b"deflate",
        None,
    ]
    assert wire.flags == [1, 0, 1, 0, 0, 0]


async def test_a_message_goes_uncompressed(wire: Wire) -> None:
    """In either direction; the receiver can tell."""
    flags: list[bool] = []

    async def handle(stream: Any) -> None:
        while (message := await stream.recv_message()) is not None:
            flags.append(stream.message_compressed)
            reply = EchoReply(payload=message.payload)
            await stream.send_message(reply, compress=not message.count)
            stream.send_message_nowait(reply, compress=not message.count)
            stream.queue_message(reply)
            stream.flush()

    async with (
        channel_and_server(chat(handle), "gzip", "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request()
        for count in (0, 1, 0):
            await stream.send_message(EchoRequest(payload=TEXT, count=count), compress=not count)
            for expected in (not count, not count, True):
                reply = await stream.recv_message()
                assert reply.payload == TEXT
                assert stream.message_compressed is expected
        stream.send_message_nowait(EchoRequest(payload=TEXT, count=1), compress=False)
        stream.queue_message(EchoRequest(payload=TEXT))
        stream.flush()
        await stream.end()
        while await stream.recv_message() is not None:
            pass
    assert flags == [True, False, True, False, True]


async def test_a_handler_chooses_instead_of_its_server(wire: Wire) -> None:
    async def handle(stream: Any) -> None:
        request = await stream.recv_message()
        with pytest.raises(ValueError, match="brotli"):
            stream.set_compression("brotli")
        stream.set_compression(request.payload.decode())
        await stream.send_message(EchoReply(payload=TEXT))
        with pytest.raises(ProtocolError, match="sent already"):
            stream.set_compression("gzip")

    for server in (None, "gzip"):
        async with channel_and_server(One(handle), None, server) as channel:
            for name in ("gzip", "deflate", "identity"):
                reply = await EchoStub(channel).Unary(EchoRequest(payload=name.encode()))
                assert reply.payload == TEXT
    assert [response.get(b"grpc-encoding") for response in wire.responses] == [
        b"gzip",
        b"deflate",
        None,
    ] * 2
    assert wire.flags == [0, 1, 0, 1, 0, 0] * 2


async def test_codecs_of_your_own(wire: Wire) -> None:
    mine = Compression("bzip2", (*CODECS, BZIP2))
    text = TEXT * 10
    async with channel_and_server(Echo(), mine, mine) as channel:
        assert (await EchoStub(channel).Unary(EchoRequest(payload=text))).payload == text
    assert wire.flags == [1, 1]
    assert wire.requests[0][b"grpc-encoding"] == wire.responses[0][b"grpc-encoding"] == b"bzip2"


async def test_what_does_not_get_smaller_goes_as_it_is(wire: Wire) -> None:
    noise = random.Random(1).randbytes(1000)
    async with channel_and_server(Echo(), "gzip", "gzip") as channel:
        for payload in (b"", b"x", noise):
            reply = await EchoStub(channel).Unary(EchoRequest(payload=payload))
            assert reply.payload == payload
    assert wire.flags == [0] * 6


async def test_answers_in_place_are_compressed_like_others(wire: Wire) -> None:
    class Service:
        def __mapping__(self) -> dict[str, Any]:
            return {UNARY: InPlaceHandler(self.handle, EchoRequest, EchoReply, self.in_place)}

        def in_place(self, call: InPlaceCall[Any, Any], request: EchoRequest) -> bool:
            call.respond(EchoReply(payload=request.payload, index=1))
            return True

        async def handle(self, stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message(EchoReply(payload=request.payload, index=2))

    async with channel_and_server(Service(), None, "gzip") as channel:
        stub = EchoStub(channel)
        reply = await stub.Unary(EchoRequest(payload=TEXT))
        assert (reply.payload, reply.index) == (TEXT, 1)
        assert wire.flags == [0, 1]
        # A request that may be compressed is nothing for the task that reads the connection.
        async with channel.request(
            UNARY, Cardinality.UNARY_UNARY, EchoRequest, EchoReply, compression="gzip"
        ) as stream:
            await stream.send_message(EchoRequest(payload=TEXT))
            assert (await stream.recv_message()).index == 2
