"""What the cases send: the sizes that the descriptions fix, and messages of them."""

from __future__ import annotations

from ._gen.grpc_testing_pb2 import (
    COMPRESSABLE,
    BoolValue,
    EchoStatus,
    Payload,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)

REQUEST_SIZES = (27182, 8, 1828, 45904)
REPLY_SIZES = (31415, 9, 2653, 58979)
LARGE_REQUEST = 271828
LARGE_REPLY = 314159

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
INITIAL_VALUE = "test_initial_metadata_value"
TRAILING_VALUE = b"\xab\xab\xab"

ECHOED = EchoStatus(code=2, message="test status message")
SPECIAL_MESSAGE = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


def payload(size: int) -> Payload:
    """So many zeros."""
    return Payload(type=COMPRESSABLE, body=bytes(size))


def maybe(value: bool | None) -> BoolValue | None:
    """A field that is there only if it is said."""
    return None if value is None else BoolValue(value=value)


def large_unary(
    *, expect_compressed: bool | None = None, response_compressed: bool | None = None
) -> SimpleRequest:
    """The request of most unary cases."""
    return SimpleRequest(
        response_type=COMPRESSABLE,
        response_size=LARGE_REPLY,
        payload=payload(LARGE_REQUEST),
        expect_compressed=maybe(expect_compressed),
        response_compressed=maybe(response_compressed),
    )


def upload(size: int, *, expect_compressed: bool | None = None) -> StreamingInputCallRequest:
    """One request of a client-streaming case."""
    return StreamingInputCallRequest(
        payload=payload(size), expect_compressed=maybe(expect_compressed)
    )


def asking_for(
    *replies: int, request: int = 0, compressed: tuple[bool | None, ...] = ()
) -> StreamingOutputCallRequest:
    """A request for replies of these sizes, itself of `request` bytes."""
    wanted = compressed or (None,) * len(replies)
    return StreamingOutputCallRequest(
        response_type=COMPRESSABLE,
        response_parameters=[
            ResponseParameters(size=size, compressed=maybe(squeeze))
            for size, squeeze in zip(replies, wanted, strict=True)
        ],
        payload=payload(request) if request else None,
    )
