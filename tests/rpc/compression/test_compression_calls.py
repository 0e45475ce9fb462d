"""Compression between our own ends: every way to choose it, and every row of compression.md."""

from __future__ import annotations

import bz2
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing
from compression_wire import Wire
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, UNARY, Echo, One, chat, serving

from trioraft.rpc import (
    Cardinality,
    Channel,
    Codec,
    Compression,
    Encoded,
    GRPCError,
    InPlaceCall,
    InPlaceHandler,
    Limits,
    ProtocolError,
    Status,
    open_channel,
)
from trioraft.rpc.compression import CODECS, GZIP
from trioraft.rpc.testing import open_test_channel

BZIP2 = Codec("bzip2", bz2.BZ2Compressor, bz2.BZ2Decompressor)
TEXT = b"to be or not to be " * 50
NAMES = [codec.name for codec in CODECS]


@contextmanager
def refused(status: Status, text: str) -> Iterator[None]:
    with pytest.raises(GRPCError, match=text) as caught:
        yield
    assert caught.value.status is status


def channel_and_server(
    service: Any, client: Any = None, server: Any = None, limits: Limits | None = None
) -> Any:
    return open_test_channel(
        [service], compression=server, client_compression=client, limits=limits
    )


# ---- every way to choose ---------------------------------------------------------------------


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


# ---- the rows of compression.md --------------------------------------------------------------


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


def framed(body: bytes, flag: int = 1) -> bytes:
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


def gzipped(data: bytes) -> bytes:
    deflater = GZIP.deflater()
    return deflater.compress(data) + deflater.flush()


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


# ---- receiving in all ways -------------------------------------------------------------------


LARGE = bytes(3 << 20)


async def test_inflating_a_large_message_lets_others_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with channel_and_server(Echo(), "gzip", "gzip") as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            reply = await EchoStub(channel).Unary(EchoRequest(payload=LARGE))
            nursery.cancel_scope.cancel()
    assert reply.payload == LARGE
    assert turns > 2 * (len(LARGE) // (64 * 1024)) + 2 * (len(LARGE) // (256 * 1024))


async def test_a_cancelled_receive_loses_nothing() -> None:
    async with (
        channel_and_server(Echo(), "gzip", "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_message(EchoRequest(payload=LARGE), end=True)
        cancelled = 0
        while True:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after_passes, scope, 3 + cancelled)
                    reply = await stream.recv_message()
                    nursery.cancel_scope.cancel()
                break
            cancelled += 1
        assert reply.payload == LARGE
        assert cancelled
        assert await stream.recv_message() is None


async def cancel_after_passes(scope: trio.CancelScope, passes: int) -> None:
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def replies_to(channel: Channel, take: Callable[[Any], Any]) -> list[bytes]:
    sizes = [10, 3 << 20, 100, 400_000, 0, 1 << 20, 1 << 20, 5]
    async with channel.request(CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply) as stream:
        await stream.send_request()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for size in sizes:
                    await stream.send_message(EchoRequest(payload=bytes(size)))
                await stream.end()

            nursery.start_soon(send)
            taken = await take(stream)
    assert [len(message.payload) for message in taken] == sizes
    return taken


async def by_iterating(stream: Any) -> list[Any]:
    return [reply async for reply in stream]


async def one_by_one(stream: Any) -> list[Any]:
    replies = []
    while (reply := await stream.recv_message()) is not None:
        replies.append(reply)
    return replies


async def in_batches(stream: Any) -> list[Any]:
    replies: list[Any] = []
    while batch := await stream.receive_available():
        assert sum(len(reply.payload) for reply in batch) <= 5 << 20
        replies += batch
    return replies


async def without_waiting(stream: Any) -> list[Any]:
    replies: list[Any] = []
    while len(replies) < 8:
        reply = stream.recv_message_nowait()
        if reply is None:
            await trio.lowlevel.checkpoint()
        else:
            replies.append(reply)
    return replies


async def delivered(stream: Any) -> list[Any]:
    replies: list[Any] = []

    def sink(messages: list[Any]) -> bool:
        replies.extend(messages)
        return len(replies) % 3 != 0

    while await stream.deliver(sink):
        pass
    return replies


@pytest.mark.parametrize("take", [by_iterating, one_by_one, in_batches, without_waiting, delivered])
@pytest.mark.parametrize("server", ["gzip", None])
async def test_ways_to_receive(take: Callable[[Any], Any], server: str | None) -> None:
    async with channel_and_server(Echo(), "deflate", server) as channel:
        await replies_to(channel, take)


async def test_a_sink_that_was_there_before_the_headers() -> None:
    go = trio.Event()

    async def handle(stream: Any) -> None:
        await go.wait()
        for size in (5, 1_000_000, 5):
            await stream.send_message(EchoReply(payload=bytes(size)))

    sizes: list[int] = []

    def sink(messages: list[Any]) -> bool:
        sizes.extend(len(message.payload) for message in messages)
        return True

    async with (
        channel_and_server(chat(handle), None, "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request(end=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.deliver, sink)
            await trio.testing.wait_all_tasks_blocked()
            go.set()
    assert sizes == [5, 1_000_000, 5]


async def test_many_small_bombs_are_inflated_one_at_a_time() -> None:
    """What waits in the inbox stays compressed: 100 messages of 4 MiB in a few hundred KiB."""
    message = gzipped(EchoReply(payload=bytes(4_000_000)).SerializeToString())

    async def handle(stream: Any) -> None:
        stream.set_compression("gzip")
        await stream.send_initial_metadata()
        stream._connection.engine.send_data(stream._id, framed(message) * 100)
        stream._connection.mark_dirty()

    async with (
        channel_and_server(chat(handle)) as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        await stream.send_request(end=True)
        batch = await stream.receive_available()
        assert len(batch) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert len(stream._inbox) > 50
        assert sum(body.size for body in stream._inbox) <= 1 << 20
        await stream.cancel()


async def test_over_sockets_with_flow_control() -> None:
    noise = random.Random(6).randbytes(1 << 20) + bytes(1 << 20)
    async with (
        serving([Echo()], compression="gzip") as address,
        open_channel(address, compression="deflate") as channel,
    ):
        replies = await EchoStub(channel).Chat([EchoRequest(payload=noise)] * 3)
        assert [reply.payload for reply in replies] == [noise] * 3
