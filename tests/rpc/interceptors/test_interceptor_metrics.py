"""Metrics of calls: gRPC's own names by OpenTelemetry, and Prometheus'."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, COUNTS, KINDS, service
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import MockClock

from trioraft.rpc import GRPCError, Status, open_channel
from trioraft.rpc.interceptors.metrics import (
    LATENCY_BOUNDS,
    SIZE_BOUNDS,
    measure_channel,
    measure_server,
)
from trioraft.rpc.interceptors.prometheus import count_channel, count_server
from trioraft.rpc.testing import open_test_channel

#: Bytes of all messages there, and back.
SIZES = {"Unary": (4, 4), "Expand": (6, 10), "Collect": (6, 6), "Chat": (6, 6)}


class Slow(EchoBase):
    """Fails as asked after 1.5 s."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        await trio.sleep(1.5)
        raise GRPCError(Status(request.count), "as asked")


class Meters:
    """A provider of its own, and what was recorded."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def read(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        assert data is not None
        [resource] = data.resource_metrics
        [scope] = resource.scope_metrics
        assert scope.scope.name == "trioraft.rpc"
        return {metric.name: metric for metric in scope.metrics}

    def options(self) -> dict[str, Any]:
        return {
            "interceptors": [measure_server(provider=self.provider)],
            "client_interceptors": [measure_channel(provider=self.provider)],
        }


@pytest.mark.parametrize("kind", KINDS)
async def test_grpcs_own_metrics(kind: str) -> None:
    meters = Meters()
    async with open_test_channel([service("trioraft")], **meters.options()) as channel:
        assert await CALL["trioraft"](channel, kind) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    metrics = meters.read()
    server = {"grpc.method": f"trioraft.testing.Echo/{kind}"}
    client = {**server, "grpc.target": "dns:///in-memory"}
    expected = {
        "grpc.server.call.started": ("{call}", server),
        "grpc.server.call.duration": ("s", {**server, "grpc.status": "OK"}),
        "grpc.server.call.sent_total_compressed_message_size": (
            *("By", {**server, "grpc.status": "OK"}),
        ),
        "grpc.server.call.rcvd_total_compressed_message_size": (
            *("By", {**server, "grpc.status": "OK"}),
        ),
        "grpc.client.attempt.started": ("{attempt}", client),
        "grpc.client.attempt.duration": ("s", {**client, "grpc.status": "OK"}),
        "grpc.client.call.duration": ("s", {**client, "grpc.status": "OK"}),
        "grpc.client.attempt.sent_total_compressed_message_size": (
            *("By", {**client, "grpc.status": "OK"}),
        ),
        "grpc.client.attempt.rcvd_total_compressed_message_size": (
            *("By", {**client, "grpc.status": "OK"}),
        ),
    }
    assert metrics.keys() == expected.keys()
    for name, (unit, labels) in expected.items():
        [point] = metrics[name].data.data_points
        assert metrics[name].unit == unit
        assert dict(point.attributes) == labels
        if name.endswith("started"):
            assert point.value == 1
        else:
            assert point.count == 1
            bounds = LATENCY_BOUNDS if unit == "s" else SIZE_BOUNDS
            assert point.explicit_bounds == bounds
    sizes = tuple(
        metrics[f"grpc.server.call.{way}_total_compressed_message_size"].data.data_points[0].sum
        for way in ("rcvd", "sent")
    )
    assert sizes == SIZES[kind]


def test_the_bounds_are_those_of_a66() -> None:
    assert (len(LATENCY_BOUNDS), len(SIZE_BOUNDS)) == (41, 14)
    assert SIZE_BOUNDS[4:6] == (16384, 65536)
    assert SIZE_BOUNDS[-1] == 4 << 30
    assert list(LATENCY_BOUNDS) == sorted(LATENCY_BOUNDS)


async def test_durations_and_statuses(autojump_clock: MockClock) -> None:
    meters = Meters()
    async with open_test_channel([Slow()], **meters.options()) as channel:
        for status in (Status.NOT_FOUND, Status.NOT_FOUND, Status.DATA_LOSS):
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest(count=status.value))
        with pytest.raises(GRPCError):
            await EchoStub(channel).Unary(EchoRequest(), timeout=1)
        await trio.sleep(1)
    metrics = meters.read()
    for name in ("grpc.server.call.duration", "grpc.client.call.duration"):
        found = {
            point.attributes["grpc.status"]: (point.count, point.sum)
            for point in metrics[name].data.data_points
        }
        assert found["NOT_FOUND"] == (2, pytest.approx(3))
        assert found["DATA_LOSS"] == (1, pytest.approx(1.5))
        if "client" in name:
            assert found["DEADLINE_EXCEEDED"] == (1, pytest.approx(1))


async def test_methods_that_are_not_named() -> None:
    meters = Meters()
    named = measure_channel(provider=meters.provider, methods=["trioraft.testing.Echo/Unary"])
    async with open_test_channel([service("trioraft")], client_interceptors=[named]) as channel:
        for kind in KINDS:
            await CALL["trioraft"](channel, kind)
    points = meters.read()["grpc.client.attempt.started"].data.data_points
    found = {point.attributes["grpc.method"]: point.value for point in points}
    assert found == {"trioraft.testing.Echo/Unary": 1, "other": 3}


async def test_targets_have_a_scheme() -> None:
    meters = Meters()
    interceptors = [measure_channel(provider=meters.provider)]
    for target in ("unix:/nowhere/at-all", "ipv4:127.0.0.1:1"):
        async with open_channel(target, interceptors=interceptors) as channel:
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest())
    points = meters.read()["grpc.client.call.duration"].data.data_points
    assert [dict(point.attributes) for point in points] == [
        {
            "grpc.method": "trioraft.testing.Echo/Unary",
            "grpc.target": target,
            "grpc.status": "UNAVAILABLE",
        }
        for target in ("unix:/nowhere/at-all", "ipv4:127.0.0.1:1")
    ]


# ---- Prometheus ----------------------------------------------------------------------------------

_TYPE = {
    "Unary": "unary",
    "Expand": "server_stream",
    "Collect": "client_stream",
    "Chat": "bidi_stream",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_prometheus(kind: str) -> None:
    registry = CollectorRegistry()
    async with open_test_channel(
        [service("trioraft")],
        interceptors=[count_server(registry=registry)],
        client_interceptors=[count_channel(registry=registry)],
    ) as channel:
        for _ in range(2):
            assert await CALL["trioraft"](channel, kind) == ANSWERS[kind]
        await trio.testing.wait_all_tasks_blocked()
    labels = {
        "grpc_type": _TYPE[kind],
        "grpc_service": "trioraft.testing.Echo",
        "grpc_method": kind,
    }
    there, back = COUNTS[kind]
    for side, received, sent in (("server", there, back), ("client", back, there)):

        def value(name: str, side: str = side, **more: str) -> float | None:
            return registry.get_sample_value(f"grpc_{side}_{name}", {**labels, **more})

        assert value("started_total") == 2
        assert value("handled_total", grpc_code="OK") == 2
        assert value("msg_received_total") == 2 * received
        assert value("msg_sent_total") == 2 * sent
        assert value("handling_seconds_count") == 2
    text = generate_latest(registry).decode()
    assert f'grpc_server_started_total{{grpc_method="{kind}"' in text


async def test_prometheus_codes_and_buckets(autojump_clock: MockClock) -> None:
    registry = CollectorRegistry()
    counted = count_server(registry=registry, buckets=[1, 2])
    async with open_test_channel([Slow()], interceptors=[counted]) as channel:
        for status in (Status.DEADLINE_EXCEEDED, Status.CANCELLED, Status.NOT_FOUND):
            with pytest.raises(GRPCError):
                await EchoStub(channel).Unary(EchoRequest(count=status.value))
    labels = {
        "grpc_type": "unary",
        "grpc_service": "trioraft.testing.Echo",
        "grpc_method": "Unary",
    }
    for code in ("DeadlineExceeded", "Canceled", "NotFound"):
        handled = registry.get_sample_value(
            "grpc_server_handled_total", {**labels, "grpc_code": code}
        )
        assert handled == 1
    for bound, count in (("1.0", 0), ("2.0", 3)):
        bucket = registry.get_sample_value(
            "grpc_server_handling_seconds_bucket", {**labels, "le": bound}
        )
        assert bucket == count
    with pytest.raises(ValueError, match="Duplicated"):
        count_server(registry=registry)
