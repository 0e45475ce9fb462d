"""Interceptors around what else calls do: retries, compression, methods that nobody knows."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attempts_kit import RETRY, Flaky, config, connected, points
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, KINDS, Diary, service
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from trio.testing import MockClock

from trioraft.rpc import (
    Cardinality,
    ClientCall,
    Deadline,
    Encoded,
    GRPCError,
    ServerCall,
    ServerStream,
    Status,
)
from trioraft.rpc.interceptors import Traffic
from trioraft.rpc.interceptors.logs import log_calls
from trioraft.rpc.interceptors.metrics import measure_server
from trioraft.rpc.interceptors.prometheus import count_server
from trioraft.rpc.interceptors.traces import trace_server

# ---- retries -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Unary", "Collect"])
async def test_retries_are_inside(autojump_clock: MockClock, kind: str) -> None:
    diary, flaky = Diary(), Flaky()
    traffic: list[Traffic] = []

    @asynccontextmanager
    async def adds(call: ClientCall) -> AsyncIterator[None]:
        call.metadata["token"] = "t"
        traffic.append(call.measure())
        yield

    client = {
        "interceptors": [diary.named("c"), adds],
        "service_config": config(retryPolicy=RETRY),
    }
    async with connected([flaky], client) as channel:
        assert await CALL["trioraft"](channel, kind) == [b"ab"]
    assert flaky.seen == ["t"] * 3
    assert diary.entries == ["c in", "c OK"]
    [counts] = traffic
    assert (counts.sent, counts.received) == (2 if kind == "Collect" else 1, 1)
    assert (counts.sent_bytes, counts.received_bytes) == (6 if kind == "Collect" else 4, 4)


async def test_what_is_left_of_retries_rises(autojump_clock: MockClock) -> None:
    diary = Diary()

    class Down(EchoBase):
        async def Unary(self, request: EchoRequest) -> EchoReply:
            raise GRPCError(Status.UNAVAILABLE, "for good")

    @asynccontextmanager
    async def hurries(call: ClientCall) -> AsyncIterator[None]:
        if call.metadata.get("hurry"):
            call.deadline = Deadline.from_timeout(0.5)
        yield

    client = {
        "interceptors": [diary.named("c"), hurries],
        "service_config": config(retryPolicy=RETRY),
    }
    async with connected([Down()], client) as channel:
        with pytest.raises(GRPCError, match="for good"):
            await EchoStub(channel).Unary(EchoRequest())
        started = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), metadata={"hurry": "1"})
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(0.5)
    failed = ["c in", "c GRPCError"]
    assert diary.entries == [*failed, "c UNAVAILABLE", *failed, "c DEADLINE_EXCEEDED"]


async def test_a_call_that_would_be_retried_is_answered(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def answers(call: ClientCall) -> AsyncIterator[None]:
        call.respond(EchoReply(payload=b"mine"))
        yield

    client = {"interceptors": [answers], "service_config": config(retryPolicy=RETRY)}
    async with connected([EchoBase()], client) as channel:
        for kind in ("Unary", "Collect"):
            assert await CALL["trioraft"](channel, kind) == [b"mine"]


# ---- compression ---------------------------------------------------------------------------------


async def test_sizes_are_compressed_and_requests_are_looked_at_inflated() -> None:
    traffic: list[Traffic] = []
    looked: list[int] = []

    @asynccontextmanager
    async def measured(call: ClientCall | ServerCall) -> AsyncIterator[None]:
        traffic.append(call.measure())
        if isinstance(call, ServerCall):
            looked.append(len((await call.request()).payload))
        yield

    client = {"interceptors": [measured], "compression": "gzip"}
    big = EchoRequest(payload=b"x" * 1_000_000)
    async with connected(
        [service("trioraft")], client, interceptors=[measured], compression="gzip"
    ) as channel:
        reply = await EchoStub(channel).Unary(big)
        await trio.testing.wait_all_tasks_blocked()
    assert reply.payload == big.payload
    assert looked == [1_000_000]
    client_side, server_side = traffic
    assert 0 < client_side.sent_bytes == server_side.received_bytes < 10_000
    assert 0 < server_side.sent_bytes == client_side.received_bytes < 10_000


# ---- methods that no service has -----------------------------------------------------------------


async def test_names_that_callers_make_up_are_no_labels(caplog: pytest.LogCaptureFixture) -> None:
    async def parrot(stream: ServerStream[Encoded, bytes]) -> None:
        async for message in stream:
            await stream.send_message(Encoded(message))

    reader, registry, diary = InMemoryMetricReader(), CollectorRegistry(), Diary()
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    caplog.set_level(logging.INFO, "trioraft.rpc.calls")
    interceptors = [
        diary.named("s"),
        log_calls(),
        measure_server(provider=MeterProvider([reader])),
        count_server(registry=registry),
        trace_server(provider=tracers),
    ]
    async with connected([EchoBase()], {}, unknown=parrot, interceptors=interceptors) as channel:
        for number in range(3):
            async with channel.request(
                f"/made.Up/Name{number}", Cardinality.STREAM_STREAM, Encoded, Encoded
            ) as stream:
                await stream.send_message(Encoded(b"hello"), end=True)
                assert await stream.recv_message() == b"hello"
        await trio.testing.wait_all_tasks_blocked()
    tracers.shutdown()
    assert diary.entries == 3 * ["s in", "s OK"]
    assert [call.method for call in diary.calls][2] == "/made.Up/Name2"
    [started] = points(reader)["grpc.server.call.started"]
    assert (started.value, dict(started.attributes)) == (3, {"grpc.method": "other"})
    labels = {"grpc_type": "bidi_stream", "grpc_service": "unknown", "grpc_method": "unknown"}
    assert registry.get_sample_value("grpc_server_started_total", labels) == 3
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["grpc"] * 3
    assert spans[0].attributes is not None
    assert spans[0].attributes["rpc.method"] == "_OTHER"
    assert spans[0].attributes["rpc.method_original"] == "made.Up/Name0"
    assert "served /made.Up/Name0" in caplog.text


async def test_every_kind_with_a_policy_and_interceptors(autojump_clock: MockClock) -> None:
    diary = Diary()
    client = {
        "interceptors": [diary.named("c")],
        "service_config": config(retryPolicy=RETRY),
    }
    async with connected([service("trioraft")], client) as channel:
        for kind in KINDS:
            for flavour in ("trioraft", "grpclib"):
                assert await CALL[flavour](channel, kind) == ANSWERS[kind]
    assert diary.entries == 8 * ["c in", "c OK"]
