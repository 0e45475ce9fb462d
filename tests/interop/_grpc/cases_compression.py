"""The cases about compressed messages: the flag on each message is what they look at."""

from __future__ import annotations

from typing import Any

from trioraft.rpc import Cardinality, ClientStream, Status

from ._gen.grpc_testing_pb2 import (
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
)
from .case import Tester, case, expect, expect_status
from .cases_calls import check_large
from .payloads import asking_for, large_unary, upload

ENCODING = "gzip"
COMPRESSED_UPLOAD, PLAIN_UPLOAD = 27182, 45904
REPLIES = {31415: True, 92653: False}  # their sizes, and whether each is to be compressed


@case
async def client_compressed_unary(tester: Tester) -> None:
    probe = large_unary(expect_compressed=True)
    if tester.flags.feature_probe:
        async with expect_status(Status.INVALID_ARGUMENT):
            await unary(tester, probe, "identity")
    await unary(tester, probe, ENCODING)
    await unary(tester, large_unary(expect_compressed=False), "identity")


async def unary(tester: Tester, request: SimpleRequest, encoding: str) -> None:
    """A call of `large_unary` whose request has this encoding."""
    async with tester.channel.request(
        "/grpc.testing.TestService/UnaryCall",
        Cardinality.UNARY_UNARY,
        SimpleRequest,
        SimpleResponse,
        compression=encoding,
        metadata=tester.metadata,
    ) as stream:
        await stream.send_message(request, end=True)
        check_large(await stream.recv_message())


@case
async def server_compressed_unary(tester: Tester) -> None:
    for wanted in (True, False):
        async with tester.stub.UnaryCall.open(metadata=tester.metadata) as stream:
            await stream.send_message(large_unary(response_compressed=wanted), end=True)
            check_large(await stream.recv_message())
            check_flag(stream, wanted)


def check_flag(stream: ClientStream[Any, Any], wanted: bool) -> None:
    """Whether the message that was just received has come compressed."""
    expect(stream.message_compressed is wanted, f"the reply's compressed flag is not {wanted}")


@case
async def client_compressed_streaming(tester: Tester) -> None:
    if tester.flags.feature_probe:
        async with expect_status(Status.INVALID_ARGUMENT):
            async with uploading(tester) as stream:
                probe = upload(COMPRESSED_UPLOAD, expect_compressed=True)
                await stream.send_message(probe, end=True, compress=False)
                await stream.recv_message()
    async with uploading(tester) as stream:
        await stream.send_message(upload(COMPRESSED_UPLOAD, expect_compressed=True))
        plain = upload(PLAIN_UPLOAD, expect_compressed=False)
        await stream.send_message(plain, end=True, compress=False)
        reply = await stream.recv_message()
    size = 0 if reply is None else reply.aggregated_payload_size
    expect(size == COMPRESSED_UPLOAD + PLAIN_UPLOAD, f"{size} bytes arrived")


def uploading(tester: Tester) -> ClientStream[StreamingInputCallRequest, Any]:
    """A call whose requests may be compressed."""
    return tester.channel.request(
        "/grpc.testing.TestService/StreamingInputCall",
        Cardinality.STREAM_UNARY,
        StreamingInputCallRequest,
        StreamingInputCallResponse,
        compression=ENCODING,
        metadata=tester.metadata,
    )


@case
async def server_compressed_streaming(tester: Tester) -> None:
    request = asking_for(*REPLIES, compressed=tuple(REPLIES.values()))
    async with tester.stub.StreamingOutputCall.open(metadata=tester.metadata) as stream:
        await stream.send_message(request, end=True)
        for size, wanted in REPLIES.items():
            reply = await stream.recv_message()
            expect(reply is not None, "a reply is missing")
            came = len(reply.payload.body)
            expect(came == size, f"a reply of {came} bytes, not {size}")
            check_flag(stream, wanted)
        expect(await stream.recv_message() is None, "a reply that nobody asked for")
