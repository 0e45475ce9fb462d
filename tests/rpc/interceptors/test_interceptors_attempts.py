"""Attempts of calls that are retried or hedged, counted."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from attempts_kit import HEDGE, RETRY, Flaky, config, connected, points
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase
from intercepted_echo import CALL, Diary
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from trio.testing import MockClock

from trioraft.rpc.interceptors.metrics import measure_channel


def durations(found: list[Any]) -> dict[str, tuple[int, Any]]:
    return {
        point.attributes["grpc.status"]: (point.count, pytest.approx(point.sum, abs=0.5))
        for point in found
    }


async def test_attempts_of_a_retried_call_are_counted(autojump_clock: MockClock) -> None:
    reader = InMemoryMetricReader()
    measured = measure_channel(provider=MeterProvider([reader]))
    client = {"interceptors": [measured, measured], "service_config": config(retryPolicy=RETRY)}
    async with connected([Flaky()], client) as channel:
        assert await CALL["trioraft"](channel, "Unary") == [b"ab"]
    found = points(reader)
    [started] = found["grpc.client.attempt.started"]
    assert started.value == 2 * 3  # it is there twice
    assert durations(found["grpc.client.attempt.duration"]) == {
        "UNAVAILABLE": (2 * 2, 2 * 2),
        "OK": (2 * 1, 0),
    }
    [call] = found["grpc.client.call.duration"]
    assert (call.count, call.attributes["grpc.status"]) == (2, "OK")
    assert call.sum > 2 * 3  # two failures of a second, and the pauses
    sent = found["grpc.client.attempt.sent_total_compressed_message_size"]
    assert {point.attributes["grpc.status"]: point.sum for point in sent} == {
        "UNAVAILABLE": 2 * 2 * 4,
        "OK": 2 * 4,
    }


async def test_attempts_of_a_hedged_call_are_counted(autojump_clock: MockClock) -> None:
    class Slow(EchoBase):
        calls = 0

        async def Unary(self, request: EchoRequest) -> EchoReply:
            self.calls += 1
            await trio.sleep(0 if self.calls == 3 else 60)
            return EchoReply(payload=request.payload)

    reader, diary = InMemoryMetricReader(), Diary()
    measured = measure_channel(provider=MeterProvider([reader]))
    client = {
        "interceptors": [diary.named("c"), measured],
        "service_config": config(hedgingPolicy=HEDGE),
    }
    async with connected([Slow()], client) as channel:
        assert await CALL["trioraft"](channel, "Unary") == [b"ab"]
    assert diary.entries == ["c in", "c OK"]
    found = points(reader)
    assert found["grpc.client.attempt.started"][0].value == 3
    assert durations(found["grpc.client.attempt.duration"]) == {"CANCELLED": (2, 3), "OK": (1, 0)}
