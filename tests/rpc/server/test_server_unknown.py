"""A handler for methods that nobody has; and the example that makes a proxy of it."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork, One, chat, serving

from trioraft.rpc import (
    Cardinality,
    Channel,
    Encoded,
    GRPCError,
    Limits,
    Service,
    Status,
    open_channel,
    serve,
)

KINDS = list(Cardinality)
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "rpc" / "proxy" / "server.py"


@asynccontextmanager
async def memory(services: list[Service], **options: Any) -> AsyncIterator[Channel]:
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, services, listeners=[network], **options))
        async with open_channel("memory", dial=network.dial) as channel:
            yield channel
        nursery.cancel_scope.cancel()


async def ask(channel: Channel, path: str, kind: Cardinality = KINDS[0]) -> list[Any]:
    async with channel.request(path, kind, Encoded, Encoded) as stream:
        await stream.send_message(Encoded(b"hello"), end=True)
        return [reply async for reply in stream]


async def parrot(stream: Any) -> None:
    """Says what was called and what has come."""
    await stream.send_message(Encoded(stream.method_name.encode()))
    async for message in stream:
        assert type(message) is bytes
        await stream.send_message(Encoded(message))


async def test_it_gets_what_no_service_has() -> None:
    async with memory([Echo()], unknown=parrot) as channel:
        for path in ("/a.B/C", "/trioraft.testing.Echo/NoSuchMethod", "/x/y/z"):
            assert await ask(channel, path, Cardinality.UNARY_STREAM) == [path.encode(), b"hello"]
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"mine"))
        assert reply.payload == b"mine"


@pytest.mark.parametrize("path", ["", "/", "/a", "a/b", "*"])
async def test_what_is_no_path_stays_unimplemented(path: str) -> None:
    async with memory([], unknown=parrot) as channel:
        with pytest.raises(GRPCError) as caught:
            channel._headers[path] = [
                (name, path.encode() if name == b":path" else value)
                for name, value in channel.request_headers("/a/b")
            ]
            await ask(channel, path)
        # An empty path, or one without a slash, does not get past HTTP/2.
        assert caught.value.status in (Status.UNIMPLEMENTED, Status.INTERNAL, Status.UNAVAILABLE)


async def test_without_it_nothing_has_changed() -> None:
    async with memory([Echo()]) as channel:
        with pytest.raises(GRPCError, match=r"unknown method /a\.B/C") as caught:
            await ask(channel, "/a.B/C")
        assert caught.value.status is Status.UNIMPLEMENTED


async def test_what_it_raises_is_the_status_and_limits_hold() -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        raise GRPCError(Status.NOT_FOUND, "nor here", b"details")

    async with memory([], unknown=handler, limits=Limits(max_receive_message=4)) as channel:
        with pytest.raises(GRPCError, match="limit of 4") as large:
            await ask(channel, "/a/b")
        assert large.value.status is Status.RESOURCE_EXHAUSTED
    async with memory([], unknown=handler) as channel:
        with pytest.raises(GRPCError, match="nor here") as caught:
            await ask(channel, "/a/b")
        assert caught.value.status is Status.NOT_FOUND
        assert caught.value.details == b"details"


# ---- the example -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proxy_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def through(proxy: ModuleType, services: list[Service]) -> AsyncIterator[Channel]:
    """A channel to a proxy in front of a server of `services`."""
    async with (
        memory(services) as backend,
        memory([], unknown=partial(proxy.forward, backend)) as channel,
    ):
        yield channel


async def test_every_kind_passes_through(proxy: ModuleType) -> None:
    async with through(proxy, [Echo()]) as channel:
        stub = EchoStub(channel)
        assert (await stub.Unary(EchoRequest(payload=b"1"))).payload == b"1"
        assert len(await stub.Expand(EchoRequest(payload=b"2", count=100))) == 100
        parts = [EchoRequest(payload=b"%d" % index) for index in range(100)]
        assert (await stub.Collect(parts)).index == 100
        assert await stub.Collect([])
        async with stub.Chat.open() as stream:
            for index in range(50):
                await stream.send_message(EchoRequest(payload=b"%d" % index))
                reply = await stream.recv_message()
                assert reply is not None
                assert reply.payload == b"%d" % index
            await stream.end()
            assert await stream.recv_message() is None


async def test_over_sockets_with_large_messages(proxy: ModuleType) -> None:
    async with (
        serving([Echo()]) as address,
        open_channel(address) as backend,
        serving([], unknown=partial(proxy.forward, backend)) as front,
        open_channel(front) as channel,
    ):
        payload = bytes(3 * 2**20)
        assert (await EchoStub(channel).Unary(EchoRequest(payload=payload))).payload == payload


async def test_metadata_and_statuses_pass_through(proxy: ModuleType) -> None:
    async def handler(stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_initial_metadata(metadata={"hears": stream.metadata["says"]})
        stream.set_trailing_metadata({"last-bin": b"\0word"})
        if request.payload:
            raise GRPCError(Status.ABORTED, "who knows why", b"details")
        await stream.send_message(EchoReply())

    async with through(proxy, [One(handler)]) as channel:
        for payload in (b"", b"x"):
            async with EchoStub(channel).Unary.open(metadata={"says": "me"}) as stream:
                await stream.send_message(EchoRequest(payload=payload), end=True)
                if payload:
                    with pytest.raises(GRPCError, match="who knows why") as caught:
                        await stream.recv_message()
                    assert caught.value.status is Status.ABORTED
                    assert caught.value.details == b"details"
                    await stream.cancel()
                else:
                    assert await stream.recv_message() == EchoReply()
                    await stream.recv_trailing_metadata()
                assert stream.initial_metadata is not None
                assert stream.initial_metadata["hears"] == "me"
                assert stream.trailing_metadata is not None
                assert stream.trailing_metadata["last-bin"] == b"\0word"


async def test_a_method_that_the_backend_lacks_is_unimplemented(proxy: ModuleType) -> None:
    async with through(proxy, [Echo()]) as channel:
        with pytest.raises(GRPCError, match="unknown method /a/b") as caught:
            await ask(channel, "/a/b")
        assert caught.value.status is Status.UNIMPLEMENTED


async def test_deadlines_and_cancellation_pass_through(
    proxy: ModuleType, autojump_clock: trio.testing.MockClock
) -> None:
    remaining: list[float] = []
    ended = trio.Event()

    async def handler(stream: Any) -> None:
        remaining.append(stream.deadline.time_remaining() if stream.deadline else -1.0)
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with through(proxy, [One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), timeout=5)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert remaining == [pytest.approx(5, abs=1e-3)]
        ended = trio.Event()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.sleep(1)
                scope.cancel()
        with trio.fail_after(1):
            await ended.wait()


async def test_a_backend_that_ends_early_ends_the_call(proxy: ModuleType) -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"enough"))

    async with through(proxy, [chat(handler)]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(EchoRequest())
            reply = await stream.recv_message()
            assert reply is not None
            assert reply.payload == b"enough"
            with trio.fail_after(5):
                assert await stream.recv_message() is None
