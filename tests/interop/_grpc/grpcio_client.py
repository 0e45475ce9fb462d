"""The interop client on the official grpcio package: `python -m _grpc.grpcio_client`.

Written for these tests, since grpcio does not ship its own. Its API does not show whether a reply
came compressed, and compresses all requests of a call or none, so the cases about compression look
at less here than they could: see `client_compressed_streaming`.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import grpc  # type: ignore[import-untyped]

from ._gen.grpc_testing_pb2 import EchoStatus, Empty, SimpleRequest, StreamingOutputCallRequest
from .flags import client_flags
from .grpcio_generic import UNIMPLEMENTED_SERVICE, Stub
from .payloads import (
    ECHO_INITIAL,
    ECHO_TRAILING,
    ECHOED,
    INITIAL_VALUE,
    LARGE_REPLY,
    LARGE_REQUEST,
    REPLY_SIZES,
    REQUEST_SIZES,
    SPECIAL_MESSAGE,
    TRAILING_VALUE,
    asking_for,
    large_unary,
    upload,
)

Case: TypeAlias = "Callable[[Any, argparse.Namespace], None]"
CASES: dict[str, Case] = {}
Code = grpc.StatusCode
GZIP = grpc.Compression.Gzip


def case(function: Case) -> Case:
    """Register a case under its function's name (without an underscore at its end)."""
    CASES[function.__name__.rstrip("_")] = function
    return function


def expect(condition: object, what: object) -> None:
    if not condition:
        raise SystemExit(f"failed: {what}")


def expect_status(code: Any, call: Callable[[], object], message: str | None = None) -> None:
    """The call must end with this status."""
    try:
        call()
    except grpc.RpcError as error:
        expect(error.code() is code, error)
        expect(message is None or error.details() == message, repr(error.details()))
    else:
        raise SystemExit(f"failed: OK, not {code}")


def sizes_of(replies: Any) -> tuple[int, ...]:
    return tuple(len(reply.payload.body) for reply in replies)


def check_large(reply: Any) -> None:
    expect(reply.payload.body == bytes(LARGE_REPLY), "not the large reply")


@case
def empty_unary(channel: Any, flags: argparse.Namespace) -> None:
    expect(Stub(channel).EmptyCall(Empty()) == Empty(), "not empty")


@case
def large_unary_(channel: Any, flags: argparse.Namespace) -> None:
    check_large(Stub(channel).UnaryCall(large_unary()))


@case
def client_compressed_unary(channel: Any, flags: argparse.Namespace) -> None:
    stub = Stub(channel)
    probe = large_unary(expect_compressed=True)
    expect_status(Code.INVALID_ARGUMENT, lambda: stub.UnaryCall(probe))
    check_large(stub.UnaryCall(probe, compression=GZIP))
    check_large(stub.UnaryCall(large_unary(expect_compressed=False)))


@case
def server_compressed_unary(channel: Any, flags: argparse.Namespace) -> None:
    for squeezed in (True, False):
        request = large_unary(response_compressed=squeezed)
        check_large(Stub(channel).UnaryCall(request))


@case
def client_streaming(channel: Any, flags: argparse.Namespace) -> None:
    reply = Stub(channel).StreamingInputCall(map(upload, REQUEST_SIZES))
    expect(reply.aggregated_payload_size == sum(REQUEST_SIZES), reply)


@case
def client_compressed_streaming(channel: Any, flags: argparse.Namespace) -> None:
    """In two calls, as grpcio compresses all of a call or nothing."""
    stub = Stub(channel)
    first = upload(27182, expect_compressed=True)
    second = upload(45904, expect_compressed=False)
    expect_status(Code.INVALID_ARGUMENT, lambda: stub.StreamingInputCall(iter([first])))
    reply = stub.StreamingInputCall(iter([first]), compression=GZIP)
    expect(reply.aggregated_payload_size == 27182, reply)
    reply = stub.StreamingInputCall(iter([second]))
    expect(reply.aggregated_payload_size == 45904, reply)


@case
def server_streaming(channel: Any, flags: argparse.Namespace) -> None:
    sizes = sizes_of(Stub(channel).StreamingOutputCall(asking_for(*REPLY_SIZES)))
    expect(sizes == REPLY_SIZES, sizes)


@case
def server_compressed_streaming(channel: Any, flags: argparse.Namespace) -> None:
    request = asking_for(31415, 92653, compressed=(True, False))
    sizes = sizes_of(Stub(channel).StreamingOutputCall(request))
    expect(sizes == (31415, 92653), sizes)


@case
def ping_pong(channel: Any, flags: argparse.Namespace) -> None:
    pairs = zip(REQUEST_SIZES, REPLY_SIZES, strict=True)
    replies = Stub(channel).FullDuplexCall(
        asking_for(reply, request=request) for request, reply in pairs
    )
    sizes = sizes_of(replies)
    expect(sizes == REPLY_SIZES, sizes)


@case
def empty_stream(channel: Any, flags: argparse.Namespace) -> None:
    expect(not list(Stub(channel).FullDuplexCall(iter(()))), "replies")


@case
def cancel_after_begin(channel: Any, flags: argparse.Namespace) -> None:
    call = Stub(channel).StreamingInputCall.future(waiting())
    call.cancel()
    expect(call.cancelled() and call.code() is Code.CANCELLED, call)


@case
def cancel_after_first_response(channel: Any, flags: argparse.Namespace) -> None:
    call = Stub(channel).FullDuplexCall(waiting(asking_for(31415, request=27182)))
    next(call)
    call.cancel()
    expect_status(Code.CANCELLED, lambda: next(call))


def waiting(*requests: Any) -> Any:
    """Requests without an end: the call waits until it is cancelled."""
    yield from requests
    threading.Event().wait(10)


@case
def timeout_on_sleeping_server(channel: Any, flags: argparse.Namespace) -> None:
    call = Stub(channel).FullDuplexCall(waiting(asking_for(request=27182)), timeout=0.001)
    expect_status(Code.DEADLINE_EXCEEDED, lambda: next(call))


@case
def status_code_and_message(channel: Any, flags: argparse.Namespace) -> None:
    stub = Stub(channel)
    unary = SimpleRequest(response_status=ECHOED)
    expect_status(Code.UNKNOWN, lambda: stub.UnaryCall(unary), ECHOED.message)
    streaming = StreamingOutputCallRequest(response_status=ECHOED)
    expect_status(
        Code.UNKNOWN, lambda: list(stub.FullDuplexCall(iter([streaming]))), ECHOED.message
    )


@case
def special_status_message(channel: Any, flags: argparse.Namespace) -> None:
    request = SimpleRequest(response_status=EchoStatus(code=2, message=SPECIAL_MESSAGE))
    stub = Stub(channel)
    expect_status(Code.UNKNOWN, lambda: stub.UnaryCall(request), SPECIAL_MESSAGE)


@case
def custom_metadata(channel: Any, flags: argparse.Namespace) -> None:
    stub = Stub(channel)
    sent = ((ECHO_INITIAL, INITIAL_VALUE), (ECHO_TRAILING, TRAILING_VALUE))
    _, unary = stub.UnaryCall.with_call(large_unary(), metadata=sent)
    request = asking_for(LARGE_REPLY, request=LARGE_REQUEST)
    streaming = stub.FullDuplexCall(iter([request]), metadata=sent)
    list(streaming)
    for call in (unary, streaming):
        expect((ECHO_INITIAL, INITIAL_VALUE) in call.initial_metadata(), "initial metadata")
        expect((ECHO_TRAILING, TRAILING_VALUE) in call.trailing_metadata(), "trailing metadata")


@case
def unimplemented_method(channel: Any, flags: argparse.Namespace) -> None:
    call = Stub(channel).UnimplementedCall
    expect_status(Code.UNIMPLEMENTED, lambda: call(Empty()))


@case
def unimplemented_service(channel: Any, flags: argparse.Namespace) -> None:
    call = Stub(channel, UNIMPLEMENTED_SERVICE).UnimplementedCall
    expect_status(Code.UNIMPLEMENTED, lambda: call(Empty()))


@case
def pick_first_unary(channel: Any, flags: argparse.Namespace) -> None:
    request = SimpleRequest(response_size=1, fill_server_id=True)
    servers = [Stub(channel).UnaryCall(request).server_id for _ in range(100)]
    expect(servers[0] and servers == servers[:1] * 100, servers[:2])


@case
def rpc_soak(channel: Any, flags: argparse.Namespace) -> None:
    for _ in range(flags.soak_iterations):
        check_large(Stub(channel).UnaryCall(large_unary()))


@case
def channel_soak(channel: Any, flags: argparse.Namespace) -> None:
    for _ in range(flags.soak_iterations):
        with connect(flags) as fresh:
            check_large(Stub(fresh).UnaryCall(large_unary()))


def connect(flags: argparse.Namespace) -> Any:
    """A channel as the flags have it."""
    target = f"{flags.server_host}:{flags.server_port}"
    # Channels of one process share their connections otherwise.
    options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
    if not flags.use_tls:
        return grpc.insecure_channel(target, options)
    if flags.server_host_override:
        options.append(("grpc.ssl_target_name_override", flags.server_host_override))
    roots = Path(flags.ca_file).read_bytes() if flags.use_test_ca else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)


def main() -> None:
    """Run the case that the flags name; the exit status says whether it holds."""
    flags = client_flags().parse_args()
    with connect(flags) as channel:
        CASES[flags.test_case](channel, flags)
    print(f"{flags.test_case}: passed", file=sys.stderr)


if __name__ == "__main__":
    main()
