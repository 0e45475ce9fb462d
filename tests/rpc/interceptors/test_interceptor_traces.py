"""Spans of calls, and how their context crosses the wire, to grpcio's ends too."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_pb2_grpc import EchoServicer, add_EchoServicer_to_server
from echo_pb2_grpc import EchoStub as GrpcioStub
from echo_service import serving
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, FLAVOURS, KINDS, service
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import MockClock

from trioraft.rpc import (
    Channel,
    GRPCError,
    ReplyMetadata,
    Status,
    current_call,
    open_channel,
)
from trioraft.rpc.interceptors.traces import trace_channel, trace_server
from trioraft.rpc.testing import open_test_channel

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """A provider of its own, and what it has exported."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def by_kind(self) -> dict[SpanKind, ReadableSpan]:
        found = {span.kind: span for span in self._exporter.get_finished_spans()}
        assert len(found) == len(self._exporter.get_finished_spans())
        return found

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


def both(spans: Spans) -> dict[str, Any]:
    return {
        "interceptors": [trace_server(provider=spans.provider)],
        "client_interceptors": [trace_channel(provider=spans.provider)],
    }


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_span_at_either_end(spans: Spans, kind: str, flavour: str) -> None:
    async with open_test_channel([service(flavour)], **both(spans)) as channel:
        assert await CALL[flavour](channel, kind) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    found = spans.by_kind()
    client, server = found[SpanKind.CLIENT], found[SpanKind.SERVER]
    assert client.name == server.name == f"trioraft.testing.Echo/{kind}"
    assert server.parent is not None
    assert client.context is not None
    assert server.parent.span_id == client.context.span_id
    assert server.parent.is_remote
    for span in (client, server):
        assert span.status.status_code is StatusCode.UNSET
        assert span.attributes is not None
        assert dict(span.attributes) == {
            "rpc.system.name": "grpc",
            "rpc.method": f"trioraft.testing.Echo/{kind}",
            "rpc.response.status_code": "OK",
            "server.address": "in-memory",
        }


class Chain(EchoBase):
    """Calls the next server from its handler, in a child task."""

    def __init__(self, channel: Channel) -> None:
        self._stub = EchoStub(channel)

    async def Unary(self, request: EchoRequest) -> EchoReply:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stub.Unary, request)
        return EchoReply()


async def test_a_chain_of_servers_is_one_trace(spans: Spans) -> None:
    tracer = trace.get_tracer("test", tracer_provider=spans.provider)
    async with (
        open_test_channel([service("trioraft")], **both(spans)) as far,
        open_test_channel([Chain(far)], **both(spans)) as near,
    ):
        with tracer.start_as_current_span("application"):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(EchoStub(near).Unary, EchoRequest())
        await trio.testing.wait_all_tasks_blocked()
        assert not trace.get_current_span().get_span_context().is_valid
    finished = spans._exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in finished if span.context is not None}
    assert len(finished) == 1 + 3 * 4
    leaves = 0
    for span in finished:
        depth, at = 0, span
        while at.parent is not None:
            at, depth = by_id[at.parent.span_id], depth + 1
        assert at.name == "application"
        leaves += depth == 4
    assert leaves == 3


async def test_failures(
    spans: Spans, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            if request.payload == b"missing":
                raise GRPCError(Status.NOT_FOUND, "no such thing")
            if request.payload == b"slow":
                await trio.sleep(60)
            raise ZeroDivisionError

    cases = [
        (b"missing", "NOT_FOUND", False),
        (b"broken", "UNKNOWN", True),
        (b"slow", "DEADLINE_EXCEEDED", True),
    ]
    async with open_test_channel([Failing()], **both(spans)) as channel:
        for payload, status, is_the_servers in cases:
            spans.clear()
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest(payload=payload), timeout=5)
            await trio.sleep(1)
            found = spans.by_kind()
            client, server = found[SpanKind.CLIENT], found[SpanKind.SERVER]
            assert client.attributes is not None
            assert server.attributes is not None
            assert client.attributes["rpc.response.status_code"] == status
            assert client.attributes["error.type"] == status
            assert client.status.status_code is StatusCode.ERROR
            assert (server.status.status_code is StatusCode.ERROR) is is_the_servers
            assert ("error.type" in server.attributes) is is_the_servers
            recorded = [event.name for event in server.events]
            assert recorded == (["exception"] if payload == b"broken" else [])
        assert client.status.description == "deadline exceeded"


async def test_without_an_sdk_the_context_goes_through() -> None:
    """The API alone makes no spans, but what has come is what goes on."""
    seen: list[str] = []

    class Far(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            seen.append(str(current_call().metadata["traceparent"]))
            return EchoReply()

    api = trace.NoOpTracerProvider()
    options: dict[str, Any] = {
        "interceptors": [trace_server(provider=api)],
        "client_interceptors": [trace_channel(provider=api)],
    }
    async with (
        open_test_channel([Far()], **options) as far,
        open_test_channel([Chain(far)], interceptors=options["interceptors"]) as near,
    ):
        await EchoStub(near).Unary(EchoRequest(), metadata={"traceparent": PARENT})
        await EchoStub(near).Unary(EchoRequest(), metadata={"traceparent": PARENT})
    assert seen == [PARENT, PARENT]


async def test_addresses_over_sockets(spans: Spans) -> None:
    async with (
        serving([service("trioraft")], interceptors=both(spans)["interceptors"]) as address,
        open_channel(
            f"dns:///{address}", interceptors=[trace_channel(provider=spans.provider)]
        ) as channel,
    ):
        await CALL["trioraft"](channel, "Unary")
    port = int(address.rpartition(":")[2])
    found = spans.by_kind()
    client, server = found[SpanKind.CLIENT].attributes, found[SpanKind.SERVER].attributes
    assert client is not None
    assert server is not None
    assert (client["server.address"], client["server.port"]) == ("127.0.0.1", port)
    assert (client["network.peer.address"], client["network.peer.port"]) == ("127.0.0.1", port)
    assert (server["server.address"], server["server.port"]) == ("127.0.0.1", port)
    assert server["client.address"] == "127.0.0.1"


# ---- grpcio's ends -------------------------------------------------------------------------------


class GrpcioEcho(EchoServicer):  # type: ignore[misc]
    """Sends the `traceparent` that it got back."""

    def Unary(self, request: EchoRequest, context: Any) -> EchoReply:
        metadata = dict(context.invocation_metadata())
        context.set_trailing_metadata((("got", metadata.get("traceparent", "none")),))
        return EchoReply(payload=request.payload)


async def test_the_context_reaches_grpcios_server(spans: Spans) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    add_EchoServicer_to_server(GrpcioEcho(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        async with open_channel(
            f"127.0.0.1:{port}", interceptors=[trace_channel(provider=spans.provider)]
        ) as channel:
            received = ReplyMetadata()
            await EchoStub(channel).Unary(EchoRequest(), received=received)
    finally:
        await trio.to_thread.run_sync(server.stop(0).wait)
    [span] = spans.by_kind().values()
    assert span.context is not None
    assert received.trailing is not None
    mine = span.context
    expected = f"00-{mine.trace_id:032x}-{mine.span_id:016x}-{mine.trace_flags:02x}"
    assert received.trailing["got"] == expected


async def test_the_context_comes_from_grpcios_client(spans: Spans) -> None:
    def call(address: str) -> bytes:
        with grpc.insecure_channel(address) as channel:
            stub = GrpcioStub(channel)  # type: ignore[no-untyped-call]
            reply = stub.Unary(
                EchoRequest(payload=b"x"), metadata=(("traceparent", PARENT),), timeout=10
            )
            payload: bytes = reply.payload
            return payload

    async with serving(
        [service("trioraft")], interceptors=[trace_server(provider=spans.provider)]
    ) as address:
        assert await trio.to_thread.run_sync(call, address) == b"x"
    [span] = spans.by_kind().values()
    assert span.parent is not None
    assert span.context is not None
    assert f"{span.parent.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
