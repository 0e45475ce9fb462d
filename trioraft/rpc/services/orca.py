"""The stream of ORCA load reports, for clients that learn too little from the trailers of calls.

Source: gRPC proposal A51, "Out-of-band"; cncf/xds, xds/service/orca/v3/orca.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trioraft._proto.grpc.orca_pb2 import OrcaLoadReport
from trioraft._proto.grpc.orca_service_grpc import OpenRcaServiceBase
from trioraft._proto.grpc.orca_service_pb2 import OrcaLoadReportRequest
from trioraft.rpc.orca import LoadReport
from trioraft.rpc.status import GRPCError, Status

if TYPE_CHECKING:
    from grpclib.server import Stream

__all__ = ["OrcaService"]


class OrcaService(OpenRcaServiceBase):
    """Serves `xds.service.orca.v3.OpenRcaService`: the server's load, again and again.

    load: Called for each report, by each stream; a plain function that is quick. What it raises
        ends the stream with UNKNOWN. Request costs are left out: they are of one call.
    min_interval: Seconds. Streams that ask for more reports than this get these; so do those that
        do not say. The default is gRPC's.
    max_streams: Streams at once; one more gets RESOURCE_EXHAUSTED.

    Raises ValueError for an interval that is not positive.
    """

    def __init__(
        self,
        load: Callable[[], LoadReport],
        *,
        min_interval: float = 30.0,
        max_streams: int = 1000,
    ) -> None:
        if not min_interval > 0:
            raise ValueError("min_interval must be positive")
        self._load = load
        self._min_interval = min_interval
        self._max_streams = max_streams
        self._streams = 0

    async def StreamCoreMetrics(
        self, stream: Stream[OrcaLoadReportRequest, OrcaLoadReport]
    ) -> None:
        """A report now and each interval, until the caller goes."""
        request = await stream.recv_message()
        assert request is not None  # a call with one request never gets here without it
        wanted = request.report_interval.ToNanoseconds() / 1e9
        interval = max(wanted, self._min_interval)
        if self._streams >= self._max_streams:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"{self._streams} streams of load reports are open"
            )
        self._streams += 1
        try:
            while True:
                report = self._load().message()
                report.request_cost.clear()
                await stream.send_message(report)
                await trio.sleep(interval)
        finally:
            self._streams -= 1
