"""The cases about what goes around the messages: status, metadata, methods that are not there."""

from __future__ import annotations

from trioraft.rpc import Metadata, Status

from ._gen.grpc_testing_grpc import UnimplementedServiceStub
from ._gen.grpc_testing_pb2 import EchoStatus, Empty, SimpleRequest, StreamingOutputCallRequest
from .case import Tester, case, expect, expect_status
from .payloads import (
    ECHO_INITIAL,
    ECHO_TRAILING,
    ECHOED,
    INITIAL_VALUE,
    LARGE_REPLY,
    LARGE_REQUEST,
    SPECIAL_MESSAGE,
    TRAILING_VALUE,
    asking_for,
    large_unary,
)


@case
async def status_code_and_message(tester: Tester) -> None:
    async with expect_status(Status.UNKNOWN, ECHOED.message):
        await tester.stub.UnaryCall(SimpleRequest(response_status=ECHOED), metadata=tester.metadata)
    async with expect_status(Status.UNKNOWN, ECHOED.message):
        async with tester.stub.FullDuplexCall.open(metadata=tester.metadata) as stream:
            request = StreamingOutputCallRequest(response_status=ECHOED)
            await stream.send_message(request, end=True)
            await stream.recv_message()


@case
async def special_status_message(tester: Tester) -> None:
    status = EchoStatus(code=Status.UNKNOWN.value, message=SPECIAL_MESSAGE)
    async with expect_status(Status.UNKNOWN, SPECIAL_MESSAGE):
        await tester.stub.UnaryCall(SimpleRequest(response_status=status), metadata=tester.metadata)


@case
async def custom_metadata(tester: Tester) -> None:
    sent = [*tester.metadata, (ECHO_INITIAL, INITIAL_VALUE), (ECHO_TRAILING, TRAILING_VALUE)]
    async with tester.stub.UnaryCall.open(metadata=sent) as stream:
        await stream.send_message(large_unary(), end=True)
        await stream.recv_message()
    check_metadata(stream.initial_metadata, stream.trailing_metadata)
    async with tester.stub.FullDuplexCall.open(metadata=sent) as stream:
        await stream.send_message(asking_for(LARGE_REPLY, request=LARGE_REQUEST), end=True)
        async for _ in stream:
            pass
    check_metadata(stream.initial_metadata, stream.trailing_metadata)


def check_metadata(initial: Metadata | None, trailing: Metadata | None) -> None:
    """What was sent has come back, once each."""
    assert initial is not None
    assert trailing is not None
    came = initial.getall(ECHO_INITIAL, [])
    expect(came == [INITIAL_VALUE], f"initial metadata {came}, not {INITIAL_VALUE!r}")
    came = trailing.getall(ECHO_TRAILING, [])
    expect(came == [TRAILING_VALUE], f"trailing metadata {came}, not {TRAILING_VALUE!r}")


@case
async def unimplemented_method(tester: Tester) -> None:
    async with expect_status(Status.UNIMPLEMENTED):
        await tester.stub.UnimplementedCall(Empty(), metadata=tester.metadata)


@case
async def unimplemented_service(tester: Tester) -> None:
    async with expect_status(Status.UNIMPLEMENTED):
        stub = UnimplementedServiceStub(tester.channel)
        await stub.UnimplementedCall(Empty(), metadata=tester.metadata)
