"""Metrics by OpenTelemetry under gRPC's own names, as gRFC A66 defines them.

Needs `trioraft[otel]`. Source: gRFC A66 (names, units, labels, bounds of the buckets).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio
from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, get_meter

from trioraft.rpc.status import Status

from .client import ClientCall, ClientInterceptor
from .onion import Outcome, Traffic
from .plain import End, plain
from .server import ServerCall, ServerInterceptor

__all__ = ["LATENCY_BOUNDS", "SIZE_BOUNDS", "measure_channel", "measure_server"]

#: Seconds.
LATENCY_BOUNDS = (
    *(0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005),
    *(0.006, 0.008, 0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13),
    *(0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 2, 5, 10, 20, 50, 100),
)
#: Bytes.
SIZE_BOUNDS = (0, 1024, 2048, 4096, *(4**n for n in range(7, 17)))


def measure_server(*, provider: MeterProvider | None = None) -> ServerInterceptor:
    """A server's interceptor for `grpc.server.call.*`: started, duration, sizes of both ways.

    Labels are `grpc.method` (`other` for what no service has) and, but for `started`,
    `grpc.status`.

    Args:
        provider: Default: the global one.
    """
    meter = get_meter("trioraft.rpc", meter_provider=provider)
    started = meter.create_counter(
        "grpc.server.call.started", unit="{call}", description="Server calls that have started."
    )
    duration = _duration(meter, "grpc.server.call", "Server call, from its start to its status.")
    sizes = _Sizes(meter, "grpc.server.call")

    def measured(call: ServerCall) -> End:
        method = call.method[1:] if call.registered else "other"
        started.add(1, {"grpc.method": method})
        traffic, at = call.measure(), trio.current_time()

        def end(outcome: Outcome) -> None:
            labels = {"grpc.method": method, "grpc.status": outcome.status.name}
            duration.record(trio.current_time() - at, labels)
            sizes.record(traffic, labels)

        return end

    return plain(measured)


def measure_channel(
    *,
    provider: MeterProvider | None = None,
    methods: Collection[str] | Callable[[str], bool] | None = None,
) -> ClientInterceptor:
    """A channel's interceptor for `grpc.client.call.duration` and `grpc.client.attempt.*`.

    Labels are `grpc.method`, `grpc.target` and, but for `started`, `grpc.status`. A call with a
    retry or hedging policy has as many attempts as had a stream; any other is one attempt. What
    an attempt that failed has sent is taken to be what the call had sent by then.

    Args:
        provider: Default: the global one.
        methods: Which methods (`package.Service/Method`) are named in the label; the rest is
            `other`. Default: all, which is bounded as long as calls are made by generated stubs.
    """
    meter = get_meter("trioraft.rpc", meter_provider=provider)
    started = meter.create_counter(
        "grpc.client.attempt.started",
        unit="{attempt}",
        description="Attempts at a client call that have started.",
    )
    duration = _duration(meter, "grpc.client.call", "Client call, as the application sees it.")
    attempt = _duration(meter, "grpc.client.attempt", "One attempt at a client call.")
    sizes = _Sizes(meter, "grpc.client.attempt")
    named = methods if callable(methods) or methods is None else frozenset(methods).__contains__

    def measured(call: ClientCall) -> End:
        method = call.method[1:]
        if named is not None and not named(method):
            method = "other"
        labels = {"grpc.method": method, "grpc.target": _canonical(call.target)}
        attempts = _Attempts(started, attempt, sizes, labels, call.measure())
        several = call.observe_attempts(attempts)
        at = trio.current_time()
        if not several:
            attempts.started(1, False)

        def end(outcome: Outcome) -> None:
            status = outcome.status
            duration.record(trio.current_time() - at, {**labels, "grpc.status": status.name})
            if not several:
                attempts.ended(1, status)

        return end

    return plain(measured)


def _canonical(target: str) -> str:
    """With its scheme, which is `dns` unless another is given."""
    scheme, colon, _ = target.partition(":")
    known = colon and scheme in ("dns", "ipv4", "ipv6", "unix", "unix-abstract")
    return target if known else f"dns:///{target}"


def _duration(meter: Meter, prefix: str, description: str) -> Histogram:
    return meter.create_histogram(
        f"{prefix}.duration",
        unit="s",
        description=description,
        explicit_bucket_boundaries_advisory=LATENCY_BOUNDS,
    )


class _Attempts:
    """Those at one call."""

    __slots__ = ("_began", "_count", "_duration", "_labels", "_sizes", "_traffic")

    def __init__(
        self,
        count: Counter,
        duration: Histogram,
        sizes: _Sizes,
        labels: dict[str, str],
        traffic: Traffic,
    ) -> None:
        self._count, self._duration, self._sizes = count, duration, sizes
        self._labels, self._traffic = labels, traffic
        self._began: dict[int, float] = {}

    def started(self, number: int, transparent: bool) -> None:
        """An attempt has begun."""
        self._count.add(1, self._labels)
        self._began[number] = trio.current_time()

    def ended(self, number: int, status: Status) -> None:
        """It has ended so."""
        labels = {**self._labels, "grpc.status": status.name}
        self._duration.record(trio.current_time() - self._began.pop(number), labels)
        self._sizes.record(self._traffic, labels)


class _Sizes:
    """All bytes of a call's messages, compressed if they were, each way."""

    def __init__(self, meter: Meter, prefix: str) -> None:
        self._sent, self._received = (
            meter.create_histogram(
                f"{prefix}.{way}_total_compressed_message_size",
                unit="By",
                description=f"Bytes of messages {word} per call, without framing.",
                explicit_bucket_boundaries_advisory=SIZE_BOUNDS,
            )
            for way, word in (("sent", "sent"), ("rcvd", "received"))
        )

    def record(self, traffic: Traffic, labels: dict[str, str]) -> None:
        """A call has ended."""
        self._sent.record(traffic.sent_bytes, labels)
        self._received.record(traffic.received_bytes, labels)
