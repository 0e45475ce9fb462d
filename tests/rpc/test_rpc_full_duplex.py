"""Both directions of a call at once: iteration, half-close, and servers that end first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, chat, in_memory, running

from trioraft.rpc import ClientStream, GRPCError, ProtocolError, ServerStream, Status
from trioraft.rpc.client.retrying.repeated import RepeatedStream
from trioraft.rpc.codegen.calls import Replies, Requests, Upload


def said(text: str) -> EchoRequest:
    return EchoRequest(payload=text.encode())


async def replies_of(stream: Any) -> list[str]:
    return [reply.payload.decode() async for reply in stream]


# ---- iteration -------------------------------------------------------------------------------


async def test_one_task_sends_while_another_iterates() -> None:
    async with running([Echo()]) as channel:
        async with EchoStub(channel).Chat.open() as stream, trio.open_nursery() as nursery:

            async def send() -> None:
                for index in range(2000):
                    await stream.send_message(said(str(index)))
                await stream.end()

            await stream.send_request()
            nursery.start_soon(send)
            assert await replies_of(stream) == [str(index) for index in range(2000)]


async def test_both_directions_full_at_once_do_not_block_each_other() -> None:
    """Neither side reads before it has written more than all windows and queues hold."""
    big = bytes(256 * 1024)

    async def handler(stream: Any) -> None:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for _ in range(40):
                    await stream.send_message(EchoReply(payload=big))

            nursery.start_soon(send)
            await trio.sleep(0.2)
            assert len([request async for request in stream]) == 40

    async with running([chat(handler)]) as channel:
        with trio.fail_after(20):
            async with EchoStub(channel).Chat.open() as stream, trio.open_nursery() as nursery:

                async def send() -> None:
                    for _ in range(40):
                        await stream.send_message(EchoRequest(payload=big))
                    await stream.end()

                nursery.start_soon(send)
                await trio.sleep(0.2)
                assert len([reply async for reply in stream]) == 40


async def test_iteration_can_stop_and_go_on() -> None:
    async with running([Echo()]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            for index in range(10):
                await stream.send_message(said(str(index)))
            await stream.end()
            async for reply in stream:
                if reply.payload == b"4":
                    break
            assert await replies_of(stream) == list("56789")


async def test_only_one_task_may_iterate() -> None:
    async with running([Echo()]) as channel:
        async with EchoStub(channel).Chat.open() as stream, trio.open_nursery() as nursery:
            await stream.send_request()
            nursery.start_soon(replies_of, stream)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.recv_message()
            await stream.end()


async def test_a_failure_comes_after_the_messages_before_it() -> None:
    async def handler(stream: Any) -> None:
        for index in range(3):
            await stream.send_message(EchoReply(payload=str(index).encode()))
        raise GRPCError(Status.ABORTED, "that was all")

    async with running([chat(handler)]) as channel:
        got = []
        with pytest.raises(GRPCError, match="that was all"):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                while (reply := await stream.recv_message()) is not None:
                    got.append(reply.payload)
        assert got == [b"0", b"1", b"2"]


# ---- early half-close ------------------------------------------------------------------------


async def test_replies_go_on_long_after_the_half_close() -> None:
    async def handler(stream: Any) -> None:
        heard = [request.payload async for request in stream]
        assert await stream.recv_message() is None  # as often as one asks
        for index in range(1000):
            await stream.send_message(EchoReply(payload=heard[0] + str(index).encode()))

    async with running([chat(handler)]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(said("n"), end=True)
            for late in (stream.send_message(said("late")), stream.end()):
                with pytest.raises(ProtocolError, match="is ended"):
                    await late
            assert await replies_of(stream) == [f"n{index}" for index in range(1000)]


async def test_a_half_close_with_nothing_before_it() -> None:
    async def handler(stream: Any) -> None:
        assert await stream.recv_message() is None
        await stream.send_message(EchoReply(payload=b"nothing"))

    async with running([chat(handler)]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request(end=True)
            assert await replies_of(stream) == ["nothing"]


async def test_a_block_without_half_close_is_a_mistake_and_cancels() -> None:
    began, ended = trio.Event(), trio.Event()

    async def handler(stream: Any) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with running([chat(handler)]) as channel:
        with pytest.raises(ProtocolError, match="not ended"):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_message(said("hello"))
                await began.wait()
        with trio.fail_after(5):
            await ended.wait()


# ---- early trailers --------------------------------------------------------------------------


async def test_a_server_may_say_ok_before_it_has_heard_all() -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"enough"))
        stream.set_trailing_metadata({"why": "enough"})

    async with running([chat(handler)]) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(said("one"))
            assert await replies_of(stream) == ["enough"]
            # What is sent now goes nowhere, and is no mistake: nobody could have known.
            await stream.send_message(said("two"))
            await stream.end()
            await stream.recv_trailing_metadata()
            assert stream.trailing_metadata == {"why": "enough"}
        # Our direction need not be ended then.
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(said("one"))
            assert await replies_of(stream) == ["enough"]
        assert (await EchoStub(channel).Chat([said("1")]))[0].payload == b"enough"


async def test_early_ok_wakes_a_sender_that_waits_for_room() -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep(0.1)

    async with running([chat(handler)]) as channel:
        with trio.fail_after(10):
            async with EchoStub(channel).Chat.open() as stream:
                for _ in range(40):  # far more than the windows hold; the handler takes one
                    await stream.send_message(EchoRequest(payload=bytes(256 * 1024)))
                assert await stream.recv_message() is None


@pytest.mark.parametrize("blocked", [False, True])
async def test_an_early_failure_reaches_whoever_sends(blocked: bool) -> None:
    async def handler(stream: Any) -> None:
        await stream.recv_message()
        raise GRPCError(Status.RESOURCE_EXHAUSTED, "too much", b"details")

    async with running([chat(handler)]) as channel:
        payload = bytes(256 * 1024) if blocked else b"x"
        with pytest.raises(GRPCError, match="too much") as caught, trio.fail_after(10):
            async with EchoStub(channel).Chat.open() as stream:
                while True:
                    await stream.send_message(EchoRequest(payload=payload))
                    if not blocked:
                        await trio.sleep(0.01)
        assert caught.value.details == b"details"


async def test_a_handler_may_go_on_after_its_trailers() -> None:
    """They end the call for the caller, not the handler; it has nobody to talk to any more."""
    outcome: list[Any] = []

    async def handler(stream: Any) -> None:
        await stream.send_trailing_metadata(metadata={"said": "all"})
        with pytest.raises(ProtocolError, match="has ended"):
            await stream.send_message(EchoReply())
        with pytest.raises(ProtocolError, match="sent already"):
            await stream.send_trailing_metadata()
        outcome.append("went on")

    async with in_memory([chat(handler)]) as (channel, _):
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request(end=True)
            assert await stream.recv_message() is None
            await stream.recv_trailing_metadata()
            assert stream.initial_metadata == {}  # trailers only
            assert stream.trailing_metadata == {"said": "all"}
        await trio.testing.wait_all_tasks_blocked()
    assert outcome == ["went on"]


# ---- documentation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [ClientStream, RepeatedStream, ServerStream, Replies, Requests, Upload]
)
def test_every_coroutine_says_what_cancelling_does(kind: type[Any]) -> None:
    silent = []
    for name in dir(kind):
        method = inspect.getattr_static(kind, name)
        if name.startswith("_") or not inspect.iscoroutinefunction(method):
            continue
        text = (inspect.getdoc(method) or "").lower()
        if "cancel" not in text and "never wait" not in text:
            silent.append(name)
    assert not silent
