"""The interop server on the official grpcio package: `python -m _grpc.grpcio_server --port=10000`.

Written for these tests, since grpcio does not ship its own. Its API does not show whether a request
came compressed, so `expect_compressed` is not looked at. ORCA reports are put together by hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from trioraft._proto.grpc.orca_pb2 import OrcaLoadReport
from trioraft._proto.grpc.orca_service_pb2 import OrcaLoadReportRequest

from ._gen.grpc_testing_pb2 import (
    BoolValue,
    EchoStatus,
    Empty,
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
    TestOrcaReport,
)
from .flags import server_flags
from .grpcio_generic import handlers_of
from .payloads import ECHO_INITIAL, ECHO_TRAILING

CODES = {code.value[0]: code for code in grpc.StatusCode}
LOAD = "endpoint-load-metrics-bin"


class Servicer:
    """Answers as the descriptions of the suite say."""

    def __init__(self, server_id: str) -> None:
        self._server_id = server_id
        self.report = OrcaLoadReport()

    def EmptyCall(self, request: Empty, context: Any) -> Empty:
        return Empty()

    def UnaryCall(self, request: SimpleRequest, context: Any) -> SimpleResponse:
        trailing = echo_metadata(context)
        fail_if_asked(request.response_status, context)
        if request.HasField("orca_per_query_report"):
            report = report_of(request.orca_per_query_report).SerializeToString()
            context.set_trailing_metadata((*trailing, (LOAD, report)))
        if request.HasField("response_compressed"):
            squeeze(context, request.response_compressed)
        reply = SimpleResponse(payload=Payload(body=bytes(request.response_size)))
        if request.fill_server_id:
            reply.server_id = self._server_id
        return reply

    def StreamingOutputCall(
        self, request: StreamingOutputCallRequest, context: Any
    ) -> Iterator[StreamingOutputCallResponse]:
        echo_metadata(context)
        # The headers say the encoding, so it is chosen before the first reply.
        if any(wanted.compressed.value for wanted in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self._answer(request, context)

    def StreamingInputCall(
        self, requests: Iterator[StreamingInputCallRequest], context: Any
    ) -> StreamingInputCallResponse:
        size = sum(len(request.payload.body) for request in requests)
        return StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(
        self, requests: Iterator[StreamingOutputCallRequest], context: Any
    ) -> Iterator[StreamingOutputCallResponse]:
        echo_metadata(context)
        for request in requests:
            yield from self._answer(request, context)

    def _answer(
        self, request: StreamingOutputCallRequest, context: Any
    ) -> Iterator[StreamingOutputCallResponse]:
        fail_if_asked(request.response_status, context)
        if request.HasField("orca_oob_report"):
            self.report = report_of(request.orca_oob_report)
        for wanted in request.response_parameters:
            time.sleep(wanted.interval_us / 1e6)
            if wanted.HasField("compressed") and not wanted.compressed.value:
                context.disable_next_message_compression()
            reply = StreamingOutputCallResponse(payload=Payload(body=bytes(wanted.size)))
            if wanted.fill_peer_socket_address.value:
                reply.peer_socket_address = context.peer()
            yield reply

    def load_reports(self, request: OrcaLoadReportRequest, context: Any) -> Iterator[Any]:
        """OpenRcaService.StreamCoreMetrics."""
        gone = threading.Event()
        context.add_callback(gone.set)
        interval = request.report_interval.ToTimedelta().total_seconds() or 1.0
        yield self.report
        while not gone.wait(interval):
            yield self.report


def squeeze(context: Any, wanted: BoolValue) -> None:
    """Compress the one reply, or do not."""
    context.set_compression(
        grpc.Compression.Gzip if wanted.value else grpc.Compression.NoCompression
    )


def echo_metadata(context: Any) -> tuple[tuple[str, bytes], ...]:
    """The feature "Echo Metadata"; the trailing part is returned, too."""
    metadata = dict(context.invocation_metadata())
    if ECHO_INITIAL in metadata:
        context.send_initial_metadata(((ECHO_INITIAL, metadata[ECHO_INITIAL]),))
    if ECHO_TRAILING not in metadata:
        return ()
    trailing = ((ECHO_TRAILING, metadata[ECHO_TRAILING]),)
    context.set_trailing_metadata(trailing)
    return trailing


def fail_if_asked(status: EchoStatus, context: Any) -> None:
    """The feature "Echo Status"."""
    if status.code:
        context.abort(CODES[status.code], status.message)


def report_of(asked: TestOrcaReport) -> OrcaLoadReport:
    """The suite's words for a load report, as ORCA has them."""
    return OrcaLoadReport(
        cpu_utilization=asked.cpu_utilization,
        mem_utilization=asked.memory_utilization,
        request_cost=dict(asked.request_cost),
        utilization=dict(asked.utilization),
    )


def main() -> None:
    """Serve until killed."""
    flags = server_flags().parse_args()
    options = [("grpc.max_concurrent_streams", flags.max_concurrent_streams)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
    servicer = Servicer(f"grpcio-{threading.get_native_id()}")
    stream = grpc.unary_stream_rpc_method_handler(
        servicer.load_reports,
        request_deserializer=OrcaLoadReportRequest.FromString,
        response_serializer=OrcaLoadReport.SerializeToString,
    )
    service = "xds.service.orca.v3.OpenRcaService"
    handlers = grpc.method_handlers_generic_handler(service, {"StreamCoreMetrics": stream})
    server.add_generic_rpc_handlers((handlers_of(servicer), handlers))
    address = f"127.0.0.1:{flags.port}"
    if flags.use_tls:
        pair = (Path(flags.tls_key_file).read_bytes(), Path(flags.tls_cert_file).read_bytes())
        port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port(address)
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
