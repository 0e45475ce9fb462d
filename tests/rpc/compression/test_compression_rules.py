"""Every row of compression.md: what is accepted, what is refused, and with which status."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from compression_kit import BZIP2, TEXT, channel_and_server, framed, gzipped, refused
from compression_wire import Wire
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, Echo, One, chat

from trioraft.rpc import Cardinality, Channel, Compression, Encoded, Limits, Status
from trioraft.rpc.compression import CODECS


async def test_an_encoding_that_the_server_does_not_know() -> None:
    """UNIMPLEMENTED, saying what is accepted; from then on the channel sends uncompressed."""
    mine = Compression("bzip2", (*CODECS, BZIP2))
    async with channel_and_server(Echo(), mine) as channel:
        stub = EchoStub(channel)
        with refused(Status.UNIMPLEMENTED, r"'bzip2' is not supported here: identity, deflate"):
            await stub.Unary(EchoRequest(payload=TEXT))
        assert (await stub.Unary(EchoRequest(payload=TEXT))).payload == TEXT


async def test_what_a_server_said_it_accepts_is_remembered(wire: Wire) -> None:
    async with channel_and_server(Echo(), "gzip", Compression(codecs=())) as channel:
        with refused(Status.UNIMPLEMENTED, "identity are"):
            await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
        assert wire.responses[0][b"grpc-accept-encoding"] == b"identity"
        wire.clear()
        await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
    assert wire.flags == [0, 0]
    assert b"grpc-encoding" not in wire.requests[0]


async def test_a_server_never_compresses_what_its_caller_does_not_accept(wire: Wire) -> None:
    async def handle(stream: Any) -> None:
        await stream.recv_message()
        stream.set_compression("gzip")
        await stream.send_message(EchoReply(payload=TEXT))

    for service in (One(handle), Echo()):
        async with channel_and_server(service, Compression(codecs=()), "gzip") as channel:
            await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
    assert wire.flags == [0] * 4
    assert all(b"grpc-encoding" not in response for response in wire.responses)


async def raw_call(channel: Channel, body: bytes, compression: str = "gzip") -> Any:
    """A unary call whose request body is compressed, or not, by ourselves."""
    kind = Cardinality.UNARY_UNARY
    async with channel.request(
        UNARY, kind, Encoded, EchoReply, compression=compression, timeout=10
    ) as stream:
        await stream.send_request()
        stream._connection.engine.send_data(stream._id, body, end_stream=True)
        stream._connection.mark_dirty()
        stream._sent_end = stream._sent_message = True
        return await stream.recv_message()


GOOD = gzipped(EchoRequest(payload=TEXT).SerializeToString())


@pytest.mark.parametrize(
    ("body", "compression", "status", "text"),
    [
        (framed(GOOD), "identity", Status.INTERNAL, "invalid compressed flag"),
        (framed(GOOD, 3), "gzip", Status.INTERNAL, "invalid flag 0x03"),
        (framed(GOOD + b"x"), "gzip", Status.INTERNAL, "1 bytes follow its end"),
        (framed(GOOD + GOOD), "gzip", Status.INTERNAL, "bytes follow its end"),
        (framed(GOOD[:-1]), "gzip", Status.INTERNAL, "ends too early"),
        (framed(b""), "gzip", Status.INTERNAL, "ends too early"),
        (framed(b"x" * 100), "gzip", Status.INTERNAL, "incorrect header check"),
        (framed(GOOD[:-8] + bytes(8)), "gzip", Status.INTERNAL, "incorrect data check"),
        (framed(gzipped(b"\xff\xff")), "gzip", Status.INTERNAL, "cannot decode EchoRequest"),
        (framed(gzipped(bytes(100_001))), "gzip", Status.RESOURCE_EXHAUSTED, "is inflated"),
        (framed(bytes(100_001)), "gzip", Status.RESOURCE_EXHAUSTED, "100001 bytes, over"),
        (framed(GOOD)[:-1], "gzip", Status.INTERNAL, "inside a message"),
    ],
)
async def test_requests_that_are_refused(
    body: bytes, compression: str, status: Status, text: str
) -> None:
    limits = Limits(max_receive_message=100_000)
    async with channel_and_server(Echo(), limits=limits) as channel:
        with refused(status, text):
            await raw_call(channel, body, compression)
        assert (await raw_call(channel, framed(GOOD))).payload == TEXT


async def test_an_uncompressed_message_of_a_call_with_an_encoding() -> None:
    async with channel_and_server(Echo()) as channel:
        plain = EchoRequest(payload=TEXT).SerializeToString()
        assert (await raw_call(channel, framed(plain, 0))).payload == TEXT


async def test_replies_that_are_refused() -> None:
    """A bad reply fails the call here and stops the server there."""
    stopped = trio.Event()

    async def handle(stream: Any) -> None:
        stream.set_compression("gzip")
        await stream.send_message(EchoReply(payload=TEXT))
        engine = stream._connection.engine
        engine.send_data(stream._id, framed(GOOD + b"x"))
        stream._connection.mark_dirty()
        try:
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with channel_and_server(chat(handle)) as channel:
        with refused(Status.INTERNAL, "1 bytes follow its end"):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                assert (await stream.recv_message()).payload == TEXT
                await stream.recv_message()
        with trio.fail_after(5):
            await stopped.wait()


async def test_an_encoding_that_the_client_does_not_know(wire: Wire) -> None:
    """INTERNAL for a message that uses it; naming it alone does no harm."""

    async def handle(stream: Any) -> None:
        await stream.recv_message()
        stream._agreed, stream._encoder = True, BZIP2
        await stream.send_message(EchoReply(payload=b"plain"), compress=False)
        await stream.send_message(EchoReply(payload=TEXT * 5))

    async with channel_and_server(chat(handle)) as channel:
        with refused(Status.INTERNAL, r"'bzip2', which is not known here: identity, deflate"):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_message(EchoRequest(), end=True)
                assert (await stream.recv_message()).payload == b"plain"
                await stream.recv_message()
