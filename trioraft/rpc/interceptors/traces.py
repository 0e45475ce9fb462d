"""Traces by OpenTelemetry: a span per call on either end, and their context in the metadata.

Needs `trioraft[otel]`. Source: OpenTelemetry semantic conventions for RPC and gRPC spans (release
candidate of 2026), W3C Trace Context. Without an SDK, the API's spans record nothing, and only
hand the context on.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from trioraft.rpc.metadata import Metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import GRPCError, Status

from .client import ClientCall, ClientInterceptor
from .onion import Outcome
from .plain import End, plain
from .server import ServerCall, ServerInterceptor

__all__ = ["trace_channel", "trace_server"]

#: Statuses that are a server's own failure; the others say that the caller has asked wrongly.
_SERVER_ERRORS = frozenset(
    {
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    }
)


class _Carrier(Getter[Metadata], Setter[Metadata]):
    """How a propagator reads and writes metadata."""

    def get(self, carrier: Metadata, key: str) -> list[str] | None:
        values = [value for value in carrier.getall(key.lower(), []) if isinstance(value, str)]
        return values or None

    def keys(self, carrier: Metadata) -> list[str]:
        return list(carrier.keys())

    def set(self, carrier: Metadata, key: str, value: str) -> None:
        carrier[key.lower()] = value


_CARRIER = _Carrier()


def trace_server(
    *, provider: TracerProvider | None = None, propagator: TextMapPropagator | None = None
) -> ServerInterceptor:
    """A server's interceptor that makes a span of each call, below that of its caller.

    The span is current in the handler's task, and in those that it starts: spans made there, and
    calls made there through a channel with `trace_channel`, are its children.

    Args:
        provider: Default: the global one.
        propagator: Default: the global one, which reads `traceparent`, `tracestate`, `baggage`.
    """
    tracer = _tracer(provider)

    def traced(call: ServerCall) -> End:
        using = propagator or propagate.get_global_textmap()
        parent = using.extract(call.metadata, otel_context.get_current(), _CARRIER)
        authority = call.stream.authority or ""
        span = tracer.start_span(
            call.method[1:] if call.registered else "grpc",
            parent,
            SpanKind.SERVER,
            {**_method(call.method, call.registered), **_address("server", authority)},
        )
        _peer(span, "client", call.peer)
        token = otel_context.attach(trace.set_span_in_context(span, parent))

        def end(outcome: Outcome) -> None:
            otel_context.detach(token)
            if isinstance(call.error, Exception) and not isinstance(call.error, GRPCError):
                span.record_exception(call.error)
            _end(span, outcome, outcome.status in _SERVER_ERRORS)

        return end

    return plain(traced)


def trace_channel(
    *, provider: TracerProvider | None = None, propagator: TextMapPropagator | None = None
) -> ClientInterceptor:
    """A channel's interceptor that makes a span of each call and tells the server of it.

    The span is a child of the current one. It is not current in the call's block, whose code is
    the application's.

    Args:
        provider: Default: the global one.
        propagator: Default: the global one, which writes `traceparent`, `tracestate`, `baggage`.
    """
    tracer = _tracer(provider)

    def traced(call: ClientCall) -> End:
        using = propagator or propagate.get_global_textmap()
        span = tracer.start_span(
            call.method[1:],
            kind=SpanKind.CLIENT,
            attributes={**_method(call.method), **_address("server", _place(call.target))},
        )
        using.inject(call.metadata, trace.set_span_in_context(span), _CARRIER)

        def end(outcome: Outcome) -> None:
            if call.peer is not None:
                _peer(span, "network.peer", call.peer)
            _end(span, outcome, not outcome.ok)

        return end

    return plain(traced)


def _tracer(provider: TracerProvider | None) -> Tracer:
    return trace.get_tracer("trioraft.rpc", tracer_provider=provider)


def _method(path: str, known: bool = True) -> dict[str, AttributeValue]:
    if known:
        return {"rpc.system.name": "grpc", "rpc.method": path[1:]}
    return {
        "rpc.system.name": "grpc",
        "rpc.method": "_OTHER",
        "rpc.method_original": path[1:],
    }


def _place(target: str) -> str:
    """A target without its scheme."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("dns", "ipv4", "ipv6", "unix", "unix-abstract"):
        return rest.removeprefix("///") if scheme == "dns" else rest.removeprefix("//")
    return target


def _address(prefix: str, place: str) -> dict[str, AttributeValue]:
    """`host:port`, or anything else, as attributes."""
    host, colon, port = place.rpartition(":")
    if colon and port.isdecimal() and len(port) < 6:
        return {f"{prefix}.address": host.strip("[]"), f"{prefix}.port": int(port)}
    return {f"{prefix}.address": place} if place else {}


def _peer(span: Span, prefix: str, peer: Peer) -> None:
    if not span.is_recording():
        return
    address: Any = peer.addr()
    if isinstance(address, tuple):
        span.set_attribute(f"{prefix}.address", address[0])
        span.set_attribute(f"{prefix}.port", address[1])
    elif address:
        span.set_attribute(f"{prefix}.address", str(address))


def _end(span: Span, outcome: Outcome, is_error: bool) -> None:
    if span.is_recording():
        span.set_attribute("rpc.response.status_code", outcome.status.name)
        if is_error:
            span.set_attribute("error.type", outcome.status.name)
            span.set_status(StatusCode.ERROR, outcome.message)
    span.end()
