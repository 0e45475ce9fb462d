"""ORCA load reports: a server says with its replies, or as a stream, how much it is used.

    report_load(LoadReport(cpu=0.7, request_cost={"rows": 120}))    # in a handler

    async with stub.GetInAll(request) as replies:                   # at a caller
        ...
    load = load_of(replies.trailing_metadata)

    async with watch_load(channel, interval=10) as loads:           # from `services.OrcaService`
        async for load in loads: ...

Sources: gRPC proposals A51 (custom backend metrics) and A64, cncf/xds (`xds.data.orca.v3`,
`xds.service.orca.v3`). Balancers with weights read these reports: `WeightedRoundRobin`, and
those of grpc-go and grpc-java. Not imported by `trioraft.rpc`: who does without does not load the
messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from math import inf
from typing import Any

from google.protobuf.message import DecodeError

from trioraft._proto.grpc.orca_pb2 import OrcaLoadReport
from trioraft._proto.grpc.orca_service_pb2 import OrcaLoadReportRequest

from .client.channel import Channel
from .codegen.calls import Replies, unary_stream
from .codegen.handlers import current_call
from .metadata import Metadata
from .server.stream import ServerStream

__all__ = ["TRAILER", "LoadReport", "load_of", "report_load", "watch_load"]

#: The trailing metadatum that has the report of one call.
TRAILER = "endpoint-load-metrics-bin"

#: The method that streams reports.
STREAM = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What a server says of its load. 0 and an empty mapping stand for nothing said.

    Attributes:
        cpu: Use of the processors, 0 and up; above 1 is more than the server wants.
        memory: Use of the memory, 0 to 1.
        application: Use of what the application is short of, 0 and up. Balancers prefer it to cpu.
        requests_per_second: Of the whole server.
        errors_per_second: Of the whole server.
        utilization: Use of further resources by name, each 0 to 1.
        request_cost: What this call has cost, by name, in units that both ends know.
        metrics: Anything else, by name.

    Raises ValueError for a value out of its range; NaN is out of each.
    """

    cpu: float = 0.0
    memory: float = 0.0
    application: float = 0.0
    requests_per_second: float = 0.0
    errors_per_second: float = 0.0
    utilization: Mapping[str, float] = field(default_factory=dict)
    request_cost: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cpu", "application", "requests_per_second", "errors_per_second"):
            _check(name, getattr(self, name), inf)
        _check("memory", self.memory, 1.0)
        for name, value in self.utilization.items():
            _check(f"utilization[{name!r}]", value, 1.0)

    def encode(self) -> bytes:
        """The report as it travels."""
        return self.message().SerializeToString()

    def message(self) -> OrcaLoadReport:
        """The report as `xds.data.orca.v3.OrcaLoadReport`."""
        return OrcaLoadReport(
            cpu_utilization=self.cpu,
            mem_utilization=self.memory,
            application_utilization=self.application,
            rps_fractional=self.requests_per_second,
            eps=self.errors_per_second,
            utilization=self.utilization,
            request_cost=self.request_cost,
            named_metrics=self.metrics,
        )

    @classmethod
    def decode(cls, data: bytes) -> LoadReport:
        """A report that has travelled. The deprecated `rps` counts where there is nothing newer.

        Raises:
            ValueError: Not a report, or a value is out of its range.
        """
        try:
            message = OrcaLoadReport.FromString(data)
        except DecodeError as error:
            raise ValueError(f"not a load report: {error}") from error
        return cls(
            cpu=message.cpu_utilization,
            memory=message.mem_utilization,
            application=message.application_utilization,
            requests_per_second=message.rps_fractional or float(message.rps),
            errors_per_second=message.eps,
            utilization=dict(message.utilization),
            request_cost=dict(message.request_cost),
            metrics=dict(message.named_metrics),
        )


def _check(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most or value == inf:
        bound = "from 0" if most == inf else f"from 0 to {most:g}"
        raise ValueError(f"a load report's {name} is a number {bound}, not {value!r}")


# ---- servers ---------------------------------------------------------------------------------


def report_load(report: LoadReport, call: ServerStream[Any, Any] | None = None) -> None:
    """Send a report with the status of the current call, however that ends. Never waits.

    Replaces an earlier report of the same call. Sends nothing if the status has been sent.

    Args:
        call: The call, where `current_call` does not know it: in a service by grpclib's plugin, and
            in an interceptor (`ServerCall.stream`), which can report the load with every call.

    Raises:
        RuntimeError: No `call`, and no handler is running here.
    """
    target = current_call() if call is None else call
    target.add_trailing_metadata({TRAILER: report.encode()})


# ---- clients ---------------------------------------------------------------------------------


def load_of(trailing: Metadata | None) -> LoadReport | None:
    """The report in a call's trailing metadata, None if there is none.

    None also for several reports, and for one that does not decode or has a value out of its range:
    whatever is wrong with a server's opinion of itself must not cost the reply.
    """
    values = trailing.getall(TRAILER, []) if trailing is not None else []
    if len(values) != 1 or not isinstance(values[0], bytes):
        return None
    try:
        return LoadReport.decode(values[0])
    except ValueError:
        return None


class _Decoder:
    """What a call takes for the class of its replies."""

    FromString = staticmethod(LoadReport.decode)


def watch_load(
    channel: Channel, *, interval: float = 30.0
) -> AbstractAsyncContextManager[Replies[LoadReport]]:
    """A block with the reports of a server that has `services.OrcaService` or its like.

    The first comes at once, further ones each `interval` seconds, or as often as the server wants.
    Request costs are not in them. On a channel with several addresses they are those of whichever
    server the balancer picks. Leaving the block, or cancelling it, ends the stream.

    Raises, where reports are taken:
        GRPCError: UNIMPLEMENTED: the server has no such service. INTERNAL: not a report.

    Raises:
        ValueError: `interval` is not positive, or longer than a protobuf `Duration` can be.
    """
    if not 0 < interval < 315_576_000_000:
        raise ValueError(f"the interval of load reports must be positive, not {interval!r}")
    request = OrcaLoadReportRequest()
    request.report_interval.FromNanoseconds(int(interval * 1e9))
    decoder: type[Any] = _Decoder
    return unary_stream(channel, STREAM, OrcaLoadReportRequest, decoder, request, {})
