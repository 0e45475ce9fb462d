"""What a handler sees and says: metadata, statuses, crashes, misuse."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, Echo, One, chat, running

from trioraft.rpc import GRPCError, ProtocolError, Status


async def test_metadata_both_ways() -> None:
    seen: dict[str, Any] = {}

    async def handler(stream: Any) -> None:
        await stream.recv_message()
        seen["metadata"] = list(stream.metadata.items())
        seen["agent"] = stream.user_agent
        seen["type"] = stream.content_type
        seen["method"] = stream.method_name
        seen["deadline"] = stream.deadline
        seen["peer"] = stream.peer.addr()
        await stream.send_initial_metadata(metadata={"first": "1", "first-bin": b"\0\1"})
        await stream.send_message(EchoReply())
        await stream.send_trailing_metadata(metadata=[("last", "a"), ("last", "b")])

    async with running([One(handler)]) as channel:
        stub = EchoStub(channel)
        async with stub.Unary.open(metadata=[("k", "v"), ("k-bin", b"\xff")]) as stream:
            await stream.send_message(EchoRequest(), end=True)
            await stream.recv_initial_metadata()
            assert stream.initial_metadata is not None
            assert list(stream.initial_metadata.items()) == [("first", "1"), ("first-bin", b"\0\1")]
            assert stream.trailing_metadata is None or "last" in stream.trailing_metadata
            await stream.recv_message()
            await stream.recv_trailing_metadata()
            assert stream.trailing_metadata.getall("last") == ["a", "b"]
            assert stream.peer.addr()[0] == "127.0.0.1"
    assert seen["metadata"] == [("k", "v"), ("k-bin", b"\xff")]
    assert seen["agent"].startswith("grpc-python-trio")
    assert seen["type"] == "application/grpc"
    assert seen["method"] == UNARY
    assert seen["deadline"] is None
    assert seen["peer"][0] == "127.0.0.1"


@pytest.mark.parametrize("after_messages", [0, 2])
async def test_a_raised_status_reaches_the_caller(after_messages: int) -> None:
    async def handler(stream: Any) -> None:
        for _ in range(after_messages):
            await stream.send_message(EchoReply())
        raise GRPCError(Status.NOT_FOUND, "no \N{SNOWMAN}\n100%", b"\1\2\3")

    async with running([chat(handler)]) as channel, trio.open_nursery():
        stream = None
        with pytest.raises(GRPCError) as caught:
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                for _ in range(after_messages):
                    assert await stream.recv_message() == EchoReply()
                await stream.recv_message()
        assert caught.value.status is Status.NOT_FOUND
        assert caught.value.message == "no \N{SNOWMAN}\n100%"
        assert caught.value.details == b"\1\2\3"
        assert stream.trailing_metadata["grpc-status-details-bin"] == b"\1\2\3"


async def test_a_status_may_be_sent_instead_of_raised() -> None:
    async def handler(stream: Any) -> None:
        await stream.send_trailing_metadata(
            status=Status.ABORTED, status_message="later", metadata={"retry": "1"}
        )

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert (caught.value.status, caught.value.message) == (Status.ABORTED, "later")


async def test_a_crash_is_unknown_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: Any) -> None:
        raise RuntimeError("secret")

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.UNKNOWN
    assert caught.value.message == "Internal Server Error"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "secret" in caplog.text


async def test_a_crash_in_a_handlers_nursery_is_unknown_too() -> None:
    async def crash() -> None:
        raise RuntimeError("child")

    async def handler(stream: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await trio.sleep_forever()

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.UNKNOWN


async def test_a_status_raised_inside_a_nursery_counts() -> None:
    async def handler(stream: Any) -> None:
        async with trio.open_nursery():
            async with trio.open_nursery():
                raise GRPCError(Status.FAILED_PRECONDITION, "inside")

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.FAILED_PRECONDITION


async def test_initial_metadata_of_a_unary_call_does_not_wait_for_the_reply() -> None:
    gate = trio.Event()

    async def handler(stream: Any) -> None:
        await stream.send_initial_metadata(metadata={"early": "yes"})
        await gate.wait()
        await stream.send_message(EchoReply())

    async with running([One(handler)]) as channel, EchoStub(channel).Unary.open() as stream:
        await stream.send_message(EchoRequest())
        with trio.fail_after(10):
            await stream.recv_initial_metadata()
        assert stream.initial_metadata["early"] == "yes"
        gate.set()
        assert await stream.recv_message() == EchoReply()


async def test_no_reply_to_a_unary_call_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.UNKNOWN
    assert "without a reply" in caplog.text


async def test_misuse_on_the_server() -> None:
    problems: list[str] = []

    async def handler(stream: Any) -> None:
        with pytest.raises(ProtocolError):
            await stream.send_trailing_metadata()
        problems.append("OK without reply")
        with pytest.raises(TypeError, match="EchoReply"):
            await stream.send_message(EchoRequest())
        problems.append("wrong type")
        await stream.send_message(EchoReply())
        with pytest.raises(ProtocolError):
            await stream.send_message(EchoReply())
        problems.append("second reply")
        with pytest.raises(ProtocolError):
            await stream.send_initial_metadata()
        problems.append("late metadata")
        await stream.send_trailing_metadata()
        with pytest.raises(ProtocolError):
            await stream.send_trailing_metadata()
        with pytest.raises(ProtocolError):
            await stream.send_message(EchoReply())
        problems.append("after the end")

    async with running([One(handler)]) as channel:
        await EchoStub(channel).Unary(EchoRequest())
    assert len(problems) == 5


async def test_misuse_on_the_client() -> None:
    async with running([Echo()]) as channel:
        stub = EchoStub(channel)
        async with stub.Chat.open() as stream:
            for early in (stream.recv_message, stream.end, stream.cancel):
                with pytest.raises(ProtocolError):
                    await early()
            with pytest.raises(TypeError, match="EchoRequest"):
                await stream.send_message(EchoReply())
            await stream.send_message(EchoRequest())
            with pytest.raises(ProtocolError, match="not ended"):
                await stream.recv_trailing_metadata()
            await stream.end()
            with pytest.raises(ProtocolError):
                await stream.send_message(EchoRequest())
            with pytest.raises(ProtocolError):
                await stream.end()
        async with stub.Unary.open() as stream:
            with pytest.raises(ProtocolError):
                await stream.send_request(end=True)
            await stream.send_message(EchoRequest())
            with pytest.raises(ProtocolError):
                await stream.send_message(EchoRequest())


async def test_leaving_an_open_stream_is_an_error_unless_cancelled() -> None:
    async with running([Echo()]) as channel:
        with pytest.raises(ProtocolError, match="not ended"):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_message(EchoRequest())
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(EchoRequest())
            await stream.cancel()
        async with EchoStub(channel).Chat.open():
            pass  # nothing was sent: nothing to end


async def test_an_early_ok_ends_a_streaming_call() -> None:
    async def handler(stream: Any) -> None:
        await stream.send_message(EchoReply(index=7))

    async with running([chat(handler)]) as channel, EchoStub(channel).Chat.open() as stream:
        await stream.send_request()
        assert (await stream.recv_message()).index == 7
        assert await stream.recv_message() is None
        await stream.send_message(EchoRequest())  # dropped: nobody listens
        await stream.end()


async def test_a_server_may_reset_a_call() -> None:
    async def handler(stream: Any) -> None:
        await stream.cancel()

    async with running([One(handler)]) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.CANCELLED
