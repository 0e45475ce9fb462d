"""grpc.testing.TestService on our server, on the stubs that protoc-gen-trioraft makes."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from trioraft.rpc import GRPCError, Status, current_call
from trioraft.rpc.orca import LoadReport, report_load

from ._gen.grpc_testing_pb2 import (
    COMPRESSABLE,
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
from ._gen.grpc_testing_trio import TestServiceBase
from .payloads import ECHO_INITIAL, ECHO_TRAILING

Uploads: TypeAlias = "trio.abc.ReceiveChannel[StreamingInputCallRequest]"
Requests: TypeAlias = "trio.abc.ReceiveChannel[StreamingOutputCallRequest]"
Replies: TypeAlias = "trio.abc.SendChannel[StreamingOutputCallResponse]"

#: Larger replies are refused: nobody in the suite asks for them.
MAX_REPLY = 4 * 1024 * 1024


@dataclass
class InteropService(TestServiceBase):
    """Answers as the descriptions of the suite say; `UnimplementedCall` is left out on purpose.

    server_id: what `fill_server_id` asks for, different for each server.
    """

    server_id: str = field(default_factory=socket.gethostname)
    #: What `OrcaService` is to say; whoever sets it has the lock until its call ends.
    load: LoadReport = field(default_factory=LoadReport)
    load_lock: trio.Lock = field(default_factory=trio.Lock)

    async def EmptyCall(self, request: Empty) -> Empty:
        return Empty()

    async def UnaryCall(self, request: SimpleRequest) -> SimpleResponse:
        if request.HasField("expect_compressed"):
            check_compressed(request.expect_compressed)
        compress_if(request.response_compressed.value)
        await echo_metadata()
        fail_if_asked(request.response_status)
        if request.HasField("orca_per_query_report"):
            report_load(report_of(request.orca_per_query_report))
        reply = SimpleResponse(payload=zeros(request.response_type, request.response_size))
        if request.fill_server_id:
            reply.server_id = self.server_id
        return reply

    async def StreamingOutputCall(
        self, request: StreamingOutputCallRequest, replies: Replies
    ) -> None:
        compress_if(any(wanted.compressed.value for wanted in request.response_parameters))
        await echo_metadata()
        await answer(request, replies)

    async def StreamingInputCall(self, requests: Uploads) -> StreamingInputCallResponse:
        size = 0
        async for request in requests:
            if request.HasField("expect_compressed"):
                check_compressed(request.expect_compressed)
            size += len(request.payload.body)
        return StreamingInputCallResponse(aggregated_payload_size=size)

    async def FullDuplexCall(self, requests: Requests, replies: Replies) -> None:
        await echo_metadata()
        async with AsyncExitStack() as stack:
            async for request in requests:
                if request.HasField("orca_oob_report"):
                    if not self.holds_lock():
                        await stack.enter_async_context(self.load_lock)
                    self.load = report_of(request.orca_oob_report)
                await answer(request, replies)

    async def HalfDuplexCall(self, requests: Requests, replies: Replies) -> None:
        for request in [request async for request in requests]:
            await answer(request, replies)

    def holds_lock(self) -> bool:
        """Whether this call's task has the lock on the server's load already."""
        return self.load_lock.statistics().owner is trio.lowlevel.current_task()


def report_of(asked: TestOrcaReport) -> LoadReport:
    """The suite's words for a load report, in ours."""
    return LoadReport(
        cpu=asked.cpu_utilization,
        memory=asked.memory_utilization,
        request_cost=dict(asked.request_cost),
        utilization=dict(asked.utilization),
    )


async def echo_metadata() -> None:
    """The feature "Echo Metadata"."""
    call = current_call()
    metadata = call.metadata
    trailing = metadata.get(ECHO_TRAILING)
    if trailing is not None:
        call.set_trailing_metadata({ECHO_TRAILING: trailing})
    initial = metadata.get(ECHO_INITIAL)
    if initial is not None:
        await call.send_initial_metadata(metadata={ECHO_INITIAL: initial})


def check_compressed(expected: BoolValue) -> None:
    """The feature "CompressedRequest", for the request that was received last."""
    compressed = current_call().message_compressed
    if compressed is not expected.value:
        raise GRPCError(Status.INVALID_ARGUMENT, f"the request's compressed flag is {compressed}")


def compress_if(wanted: bool) -> None:
    """The feature "CompressedResponse": before the headers, which name the encoding, are sent."""
    if wanted:
        current_call().set_compression("gzip")


def fail_if_asked(status: EchoStatus) -> None:
    """The feature "Echo Status"."""
    if status.code:
        raise GRPCError(Status(status.code), status.message)


async def answer(request: StreamingOutputCallRequest, replies: Replies) -> None:
    """One reply for each of the request's parameters."""
    fail_if_asked(request.response_status)
    for wanted in request.response_parameters:
        if wanted.interval_us > 0:
            await trio.sleep(wanted.interval_us / 1e6)
        reply = StreamingOutputCallResponse(payload=zeros(request.response_type, wanted.size))
        if wanted.fill_peer_socket_address.value:
            reply.peer_socket_address = str(current_call().peer.addr())
        if wanted.HasField("compressed"):
            await current_call().send_message(reply, compress=wanted.compressed.value)
        else:
            await replies.send(reply)


def zeros(kind: int, size: int) -> Payload:
    """A payload of the asked size. Raises GRPCError(INVALID_ARGUMENT) for another kind or size."""
    if kind != COMPRESSABLE:
        raise GRPCError(Status.INVALID_ARGUMENT, f"payloads of type {kind} are not known here")
    if not 0 <= size <= MAX_REPLY:
        raise GRPCError(Status.INVALID_ARGUMENT, f"cannot reply with {size} bytes")
    return Payload(type=COMPRESSABLE, body=bytes(size))
