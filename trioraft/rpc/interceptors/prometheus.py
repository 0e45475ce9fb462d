"""Prometheus metrics, by the names that dashboards know from go-grpc-prometheus.

Needs `trioraft[prometheus]`. Serving them is prometheus_client's business, e.g. its
`start_http_server` in a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
from grpclib.const import Cardinality
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from trioraft.rpc.status import Status

from .client import ClientCall
from .onion import Outcome
from .plain import End, plain
from .server import ServerCall

__all__ = ["count_channel", "count_server"]

_TYPES = {
    Cardinality.UNARY_UNARY: "unary",
    Cardinality.UNARY_STREAM: "server_stream",
    Cardinality.STREAM_UNARY: "client_stream",
    Cardinality.STREAM_STREAM: "bidi_stream",
}
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_MAX_METHODS = 10_000
_ADJACENT = {Status.OK: "OK", Status.CANCELLED: "Canceled"}


def count_server(
    *, registry: CollectorRegistry = REGISTRY, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
) -> Callable[[ServerCall], AbstractAsyncContextManager[None]]:
    """A server's interceptor for `grpc_server_*`.

    `started_total`, `handled_total` (also by `grpc_code`), `msg_received_total`, `msg_sent_total`
    and the histogram `handling_seconds`, by `grpc_type`, `grpc_service` and `grpc_method`:
    both `unknown` for methods that no service has.

    Args:
        registry: Where they are; once for each registry.
        buckets: Upper bounds of the histogram, seconds.

    Raises:
        ValueError: The registry has them already.
    """
    return plain(_Metrics("server", registry, buckets).counted)


def count_channel(
    *, registry: CollectorRegistry = REGISTRY, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
) -> Callable[[ClientCall], AbstractAsyncContextManager[None]]:
    """A channel's interceptor for `grpc_client_*`, as `count_server`.

    The same interceptor may be given to many channels. Past 10,000 methods, which generated
    stubs do not have, further ones are counted together.

    Raises:
        ValueError: The registry has them already.
    """
    return plain(_Metrics("client", registry, buckets).counted)


class _Method:
    """The metrics of one method, found once."""

    def __init__(self, metrics: _Metrics, kind: Cardinality, service: str, name: str) -> None:
        labels = _TYPES[kind], service, name
        self.started = metrics.started.labels(*labels)
        self.received = metrics.received.labels(*labels)
        self.sent = metrics.sent.labels(*labels)
        self.seconds = metrics.seconds.labels(*labels)
        self._handled = metrics.handled
        self._labels = labels
        self._by_status: dict[Status, Any] = {}

    def handled(self, status: Status) -> None:
        """A call has ended."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._handled.labels(*self._labels, _code(status))
            self._by_status[status] = counter
        counter.inc()


class _Metrics:
    def __init__(self, side: str, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        prefix = f"grpc_{side}_"

        def counter(name: str, text: str, labels: Sequence[str] = _LABELS) -> Counter:
            return Counter(prefix + name, text, labels, registry=registry)

        self.started = counter("started", f"Calls started on the {side}.")
        self.handled = counter(
            "handled", f"Calls ended on the {side}, by status.", (*_LABELS, "grpc_code")
        )
        self.received = counter("msg_received", f"Messages received on the {side}.")
        self.sent = counter("msg_sent", f"Messages sent on the {side}.")
        self.seconds = Histogram(
            prefix + "handling_seconds",
            f"Seconds from the start to the end of calls on the {side}.",
            _LABELS,
            registry=registry,
            buckets=buckets,
        )
        self._methods: dict[tuple[str, Cardinality], _Method] = {}
        self._unknown: _Method | None = None

    def _find(self, call: ServerCall | ClientCall) -> _Method:
        method = self._methods.get((call.method, call.cardinality))
        if method is not None:
            return method
        made_up = isinstance(call, ServerCall) and not call.registered
        if made_up or len(self._methods) >= _MAX_METHODS:
            if self._unknown is None:
                self._unknown = _Method(self, call.cardinality, "unknown", "unknown")
            return self._unknown
        method = _Method(self, call.cardinality, call.service, call.name)
        self._methods[call.method, call.cardinality] = method
        return method

    def counted(self, call: ServerCall | ClientCall) -> End:
        """A call begins."""
        method = self._find(call)
        method.started.inc()
        traffic, started = call.measure(), trio.current_time()

        def end(outcome: Outcome) -> None:
            method.handled(outcome.status)
            method.seconds.observe(trio.current_time() - started)
            if traffic.received:
                method.received.inc(traffic.received)
            if traffic.sent:
                method.sent.inc(traffic.sent)

        return end


def _code(status: Status) -> str:
    """A status as grpc-go spells it: `DeadlineExceeded`, `Canceled`, `OK`."""
    known = _ADJACENT.get(status)
    return known or "".join(word.capitalize() for word in status.name.split("_"))
