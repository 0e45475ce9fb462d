"""Compression with Google's own library at the other end, in both directions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import pytest
import trio
from compression_wire import Wire
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_pb2_grpc import EchoServicer, add_EchoServicer_to_server
from echo_pb2_grpc import EchoStub as TheirStub
from echo_service import Echo, serving

from trioraft.rpc import Channel, Compression, GRPCError, Status, open_channel
from trioraft.rpc.compression import ZSTD

TEXT = b"to be or not to be " * 100
LARGE = TEXT * 1500  # more than a frame, and a window, when it is not compressed
THEIRS = {
    "identity": grpc.Compression.NoCompression,
    "deflate": grpc.Compression.Deflate,
    "gzip": grpc.Compression.Gzip,
}

NAMES = ["gzip", "deflate"]


# ---- our server ------------------------------------------------------------------------------


class Noting(Echo):
    """Keeps which requests were compressed."""

    def __init__(self) -> None:
        self.compressed: list[bool] = []

    def __mapping__(self) -> dict[str, Any]:
        mapping = super().__mapping__()
        return {path: self._noting(handler) for path, handler in mapping.items()}

    def _noting(self, handler: Any) -> Any:
        async def handle(stream: Any) -> None:
            await handler.func(stream)
            self.compressed.append(stream.message_compressed)

        return handler._replace(func=handle)


def all_kinds(address: str, ours: grpc.Compression, data: bytes) -> None:
    with grpc.insecure_channel(address, compression=ours) as channel:
        stub = TheirStub(channel)
        request = EchoRequest(payload=data, count=3)
        assert stub.Unary(request, timeout=20).payload == data
        assert [reply.payload for reply in stub.Expand(request, timeout=20)] == [data] * 3
        collected = stub.Collect(iter([EchoRequest(payload=data[:1000])] * 3), timeout=20)
        assert collected.payload == data[:1000] * 3
        replies = stub.Chat(iter([request] * 3), timeout=20)
        assert [reply.payload for reply in replies] == [data] * 3


@pytest.mark.parametrize("back", [*NAMES, "identity"])
@pytest.mark.parametrize("there", [*NAMES, "identity"])
async def test_their_client(there: str, back: str, wire: Wire) -> None:
    service = Noting()
    async with serving([service], compression=back) as address:
        await trio.to_thread.run_sync(all_kinds, address, THEIRS[there], TEXT)
        await trio.to_thread.run_sync(all_kinds, address, THEIRS[there], LARGE)
    assert service.compressed == [there != "identity"] * 8
    encodings = {response.get(b"grpc-encoding", b"identity") for response in wire.responses}
    assert encodings == {back.encode()}
    assert wire.flags[:8] == [int(back != "identity")] * 8


async def test_their_client_compresses_one_call() -> None:
    service = Noting()

    def run(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = TheirStub(channel)
            stub.Unary(EchoRequest(payload=TEXT))
            stub.Unary(EchoRequest(payload=TEXT), compression=grpc.Compression.Gzip)

    async with serving([service]) as address:
        await trio.to_thread.run_sync(run, address)
    assert service.compressed == [False, True]


async def test_their_client_with_an_encoding_that_we_do_not_take() -> None:
    def run(address: str) -> tuple[Any, str]:
        with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                TheirStub(channel).Unary(EchoRequest(payload=TEXT), timeout=20)
            return caught.value.code(), caught.value.details()

    async with serving([Echo()], compression=Compression(codecs=())) as address:
        code, details = await trio.to_thread.run_sync(run, address)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert details == "grpc-encoding 'gzip' is not supported here: identity are"


@pytest.mark.skipif(ZSTD is None, reason="no library for zstd")
async def test_their_client_does_not_take_what_our_server_would_send(wire: Wire) -> None:
    async with serving([Echo()], compression="zstd") as address:
        await trio.to_thread.run_sync(all_kinds, address, grpc.Compression.Gzip, TEXT)
    assert set(wire.flags) == {0}


# ---- our client ------------------------------------------------------------------------------


class Theirs(EchoServicer):
    def Unary(self, request: EchoRequest, context: Any) -> EchoReply:
        return EchoReply(payload=request.payload)

    def Expand(self, request: EchoRequest, context: Any) -> Iterator[EchoReply]:
        for index in range(request.count):
            if index % 2:
                context.disable_next_message_compression()
            yield EchoReply(payload=request.payload, index=index)

    def Collect(self, requests: Iterator[EchoRequest], context: Any) -> EchoReply:
        return EchoReply(payload=b"".join(request.payload for request in requests))

    def Chat(self, requests: Iterator[EchoRequest], context: Any) -> Iterator[EchoReply]:
        for request in requests:
            yield EchoReply(payload=request.payload)


@contextmanager
def their_server(compression: grpc.Compression) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4), compression=compression)
    add_EchoServicer_to_server(Theirs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@asynccontextmanager
async def to_their_server(
    back: str, compression: Compression | str | None
) -> AsyncIterator[Channel]:
    with their_server(THEIRS[back]) as address, trio.fail_after(30):
        async with open_channel(address, compression=compression) as channel:
            yield channel


@pytest.mark.parametrize("back", [*NAMES, "identity"])
@pytest.mark.parametrize("there", [*NAMES, "identity"])
async def test_their_server(there: str, back: str, wire: Wire) -> None:
    async with to_their_server(back, there) as channel:
        stub = EchoStub(channel)
        for data in (TEXT, LARGE):
            async with stub.Unary.open() as stream:
                await stream.send_message(EchoRequest(payload=data))
                assert (await stream.recv_message()).payload == data
                assert stream.message_compressed is (back != "identity")
            async with stub.Expand.open() as stream:
                await stream.send_message(EchoRequest(payload=data, count=3))
                flags = []
                async for reply in stream:
                    assert reply.payload == data
                    flags.append(stream.message_compressed)
                assert flags == ([True, False, True] if back != "identity" else [False] * 3)
            collected = await stub.Collect([EchoRequest(payload=data[:1000])] * 3)
            assert collected.payload == data[:1000] * 3
            replies = await stub.Chat([EchoRequest(payload=data)] * 3)
            assert [reply.payload for reply in replies] == [data] * 3
    assert wire.flags[:8] == [int(there != "identity")] * 8


async def test_their_server_gets_one_message_uncompressed(wire: Wire) -> None:
    async with (
        to_their_server("identity", "gzip") as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        for compress in (True, False, True):
            await stream.send_message(EchoRequest(payload=TEXT), compress=compress)
            assert (await stream.recv_message()).payload == TEXT
        await stream.end()
    assert wire.flags == [1, 0, 1]


@pytest.mark.skipif(ZSTD is None, reason="no library for zstd")
async def test_their_server_does_not_know_our_encoding() -> None:
    """grpcio answers INTERNAL where UNIMPLEMENTED is due, and not what it would accept."""
    async with to_their_server("gzip", "zstd") as channel:
        with pytest.raises(GRPCError, match="grpc-encoding") as caught:
            await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
        assert caught.value.status in (Status.INTERNAL, Status.UNIMPLEMENTED)


async def test_their_server_compresses_with_what_we_do_not_accept(wire: Wire) -> None:
    """grpcio sends what its server was told to, whatever the client says: INTERNAL at ours."""
    async with to_their_server("gzip", Compression(codecs=())) as channel:
        with pytest.raises(GRPCError, match="'gzip', which is not known here") as caught:
            await EchoStub(channel).Unary(EchoRequest(payload=TEXT))
        assert caught.value.status is Status.INTERNAL
    assert wire.requests[0][b"grpc-accept-encoding"] == b"identity"
