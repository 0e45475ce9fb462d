"""Rich errors: from handler to caller, from and to grpcio, and at their bounds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import echo_pb2_grpc
import grpc
import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One, chat, in_memory, running, serving
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import BadRequest, DebugInfo, RetryInfo
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from trioraft.rpc import GRPCError, Limits, Service, Status, open_channel
from trioraft.rpc.details import details_of, find_detail, find_details, rich_error
from trioraft.rpc.status import decode_message, encode_message, read_status, status_headers

BAD = BadRequest(field_violations=[BadRequest.FieldViolation(field="a", description="ä")])
RETRY = RetryInfo(retry_delay=Duration(seconds=3))


def failing(error: GRPCError) -> Service:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        raise error

    return One(handler)


async def failure_of(service: Service, *, limits: Limits | None = None) -> GRPCError:
    async with running([service], limits=limits) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        return caught.value


async def test_details_arrive() -> None:
    error = await failure_of(failing(rich_error(Status.ABORTED, "bad", [BAD, RETRY, RETRY])))
    assert (error.status, error.message) == (Status.ABORTED, "bad")
    assert [detail.type_url for detail in details_of(error)] == [
        "type.googleapis.com/google.rpc.BadRequest",
        "type.googleapis.com/google.rpc.RetryInfo",
        "type.googleapis.com/google.rpc.RetryInfo",
    ]
    assert find_detail(error, BadRequest) == BAD
    assert find_details(error, RetryInfo) == [RETRY, RETRY]
    assert find_detail(error, DebugInfo) is None
    whole = status_pb2.Status.FromString(error.details)
    assert (whole.code, whole.message) == (10, "bad")


async def test_details_pass_through_a_handler_that_calls_another_server() -> None:
    async with running([failing(rich_error(Status.ABORTED, "bad", [BAD]))]) as behind:

        async def forward(stream: Any) -> None:
            request = await stream.recv_message()
            await stream.send_message(await EchoStub(behind).Unary(request))

        error = await failure_of(One(forward))
    assert (error.status, find_detail(error, BadRequest)) == (Status.ABORTED, BAD)


async def test_details_come_after_messages_too(autojump_clock: object) -> None:
    async def handler(stream: Any) -> None:
        async for _ in stream:
            await stream.send_message(EchoReply())
            await stream.send_trailing_metadata(
                status=Status.DATA_LOSS,
                status_details=rich_error(Status.DATA_LOSS, None, [BAD]).details,
                metadata={"more": "yes"},
            )
            return

    async with in_memory([chat(handler)]) as (channel, _):
        with pytest.raises(GRPCError) as caught:
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_message(EchoRequest())
                assert await stream.recv_message() == EchoReply()
                await stream.recv_message()
        assert find_detail(caught.value, BadRequest) == BAD
        metadata = stream.trailing_metadata
        assert metadata is not None
        assert metadata["more"] == "yes"
        assert metadata["grpc-status-details-bin"] == caught.value.details


async def test_details_may_be_given_as_the_status_message_or_packed() -> None:
    packed = any_pb2.Any()
    packed.Pack(BAD)
    status = status_pb2.Status(code=10, message="bad", details=[packed])
    error = await failure_of(failing(GRPCError(Status.ABORTED, "bad", status)))
    assert find_detail(error, BadRequest) == BAD
    assert find_detail(rich_error(Status.ABORTED, "bad", [packed]), BadRequest) == BAD
    assert find_detail(GRPCError(Status.ABORTED, "bad", status), BadRequest) == BAD


@pytest.mark.parametrize("raw", [b"\xff\xff", b"", None])
async def test_what_is_no_status_hides_nothing(raw: bytes | None) -> None:
    error = await failure_of(failing(GRPCError(Status.ABORTED, "bad", raw)))
    assert (error.status, error.message) == (Status.ABORTED, "bad")
    assert details_of(error) == []
    broken = status_pb2.Status(
        details=[
            any_pb2.Any(type_url="type.googleapis.com/google.rpc.BadRequest", value=b"\xff"),
            any_pb2.Any(type_url="no.such/type", value=b"x"),
        ]
    )
    error = await failure_of(failing(GRPCError(Status.ABORTED, "bad", broken)))
    assert len(details_of(error)) == 2
    assert find_detail(error, BadRequest) is None


def test_misuse() -> None:
    with pytest.raises(ValueError, match="OK"):
        rich_error(Status.OK)
    with pytest.raises(TypeError, match="int"):
        details_of(GRPCError(Status.ABORTED, None, 3))
    for wrong in (15, 60 * 1024 + 1):
        with pytest.raises(ValueError, match="max_status"):
            Limits(max_status=wrong)


# ---- bounds


@pytest.mark.parametrize("size", [10_000, 100_000, 3_000_000])
async def test_details_over_the_limit_are_left_out_and_harm_no_other_call(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 48 KiB and more, they used to end the connection, with every call on it."""
    error = rich_error(Status.ABORTED, "bad", [DebugInfo(detail="x" * size)])

    async def handler(stream: Any) -> None:
        request = await stream.recv_message()
        if request.count:
            raise error
        await trio.sleep(0.05)
        await stream.send_message(EchoReply(index=1))

    async with running([One(handler)]) as channel:
        stub = EchoStub(channel)

        async def neighbour() -> None:
            assert (await stub.Unary(EchoRequest())).index == 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(neighbour)
            await trio.sleep(0.01)
            with pytest.raises(GRPCError) as caught:
                await stub.Unary(EchoRequest(count=1))
    assert (caught.value.status, caught.value.message) == (Status.ABORTED, "bad")
    assert caught.value.details is None
    assert "left out" in caplog.text


async def test_the_limit_can_be_raised_to_60_kib() -> None:
    error = rich_error(Status.ABORTED, "bad", [DebugInfo(detail="x" * 45_000)])
    received = await failure_of(failing(error), limits=Limits(max_status=60 * 1024))
    detail = find_detail(received, DebugInfo)
    assert detail is not None
    assert len(detail.detail) == 45_000


async def test_a_long_message_is_cut() -> None:
    error = await failure_of(failing(GRPCError(Status.ABORTED, "ä" * 1_000_000)))
    assert error.status is Status.ABORTED
    assert error.message == "ä" * len(error.message[:-3]) + "..."
    assert 1000 < len(error.message) < 1200  # six bytes a character


@given(st.text(max_size=40), st.binary(max_size=40), st.integers(16, 120))
def test_a_status_fits_its_limit(message: str, details: bytes, limit: int) -> None:
    headers = dict(status_headers(Status.ABORTED, message, details, limit=limit))
    text = headers[b"grpc-message"]
    assert len(text) + len(headers.get(b"grpc-status-details-bin", b"")) <= limit
    error = read_status(headers.items())
    assert isinstance(error, GRPCError)
    if len(encode_message(message)) <= limit:
        assert text == encode_message(message)
    else:
        beginning = decode_message(text)
        assert beginning.endswith("...")
        assert message.startswith(beginning[:-3])
        assert len(text) > limit - 15  # at most one character of twelve bytes more would fit


# ---- grpcio


async def test_grpcio_reads_ours() -> None:
    def talk(address: str) -> status_pb2.Status:
        with grpc.insecure_channel(address) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                echo_pb2_grpc.EchoStub(channel).Unary(EchoRequest(), timeout=10)
            status = rpc_status.from_call(caught.value)
            assert status is not None
            return status

    async with serving([failing(rich_error(Status.ABORTED, "bäd", [BAD, RETRY]))]) as address:
        status = await trio.to_thread.run_sync(talk, address)
    bad = BadRequest()
    assert status.details[0].Unpack(bad)
    assert (status.code, status.message, bad) == (10, "bäd", BAD)


class _GrpcioEcho(echo_pb2_grpc.EchoServicer):
    def Unary(self, request: EchoRequest, context: grpc.ServicerContext) -> EchoReply:
        packed = any_pb2.Any()
        packed.Pack(RETRY)
        status = status_pb2.Status(code=8, message="later", details=[packed])
        context.abort_with_status(rpc_status.to_status(status))
        raise AssertionError("abort raises")


async def test_we_read_grpcios() -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool)
        echo_pb2_grpc.add_EchoServicer_to_server(_GrpcioEcho(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            async with open_channel(f"127.0.0.1:{port}") as channel:
                with pytest.raises(GRPCError) as caught:
                    await EchoStub(channel).Unary(EchoRequest())
        finally:
            await trio.to_thread.run_sync(server.stop(0).wait)
    assert (caught.value.status, caught.value.message) == (Status.RESOURCE_EXHAUSTED, "later")
    assert find_detail(caught.value, RetryInfo) == RETRY
