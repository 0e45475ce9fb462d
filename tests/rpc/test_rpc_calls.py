"""The four kinds of calls with generated code as it comes, and what grpclib does not have."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, Echo, chat, in_memory, running

from trioraft.rpc import Cardinality, Encoded, GRPCError, Handler, Status


async def test_unary() -> None:
    async with running([Echo()]) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"hello"))
        assert reply.payload == b"hello"


async def test_empty_messages() -> None:
    async with running([Echo()]) as channel:
        assert await EchoStub(channel).Unary(EchoRequest()) == EchoReply()
        assert await EchoStub(channel).Expand(EchoRequest(count=3)) == [
            EchoReply(index=index) for index in range(3)
        ]


async def test_large_messages_pass_windows_smaller_than_they_are() -> None:
    payload = bytes(range(256)) * 8192
    async with running([Echo()]) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=payload))
        assert reply.payload == payload


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_server_streaming(count: int) -> None:
    async with running([Echo()]) as channel:
        replies = await EchoStub(channel).Expand(EchoRequest(payload=b"x", count=count))
        assert [reply.index for reply in replies] == list(range(count))


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_client_streaming(count: int) -> None:
    async with running([Echo()]) as channel:
        requests = [EchoRequest(payload=b"%d," % i) for i in range(count)]
        reply = await EchoStub(channel).Collect(requests)
        assert reply.index == count
        assert reply.payload == b"".join(request.payload for request in requests)


async def test_bidirectional_streaming_takes_turns() -> None:
    async with running([Echo()]) as channel, EchoStub(channel).Chat.open() as stream:
        for turn in range(10):
            await stream.send_message(EchoRequest(payload=b"%d" % turn))
            reply = await stream.recv_message()
            assert reply is not None
            assert reply.payload == b"%d" % turn
        await stream.end()
        assert await stream.recv_message() is None


async def test_many_calls_share_a_connection() -> None:
    async with in_memory([Echo()]) as (channel, network):
        stub = EchoStub(channel)
        replies: dict[int, bytes] = {}

        async def call(number: int) -> None:
            reply = await stub.Unary(EchoRequest(payload=b"%d" % number))
            replies[number] = reply.payload

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(call, number)
        assert replies == {number: b"%d" % number for number in range(500)}
        assert len(network.client_ends) == 1


# ---- beyond grpclib's interface ------------------------------------------------------------------


async def test_encoded_messages_pass_unparsed() -> None:
    async def handler(stream: Any) -> None:
        async for message in stream:
            assert isinstance(message, bytes)
            await stream.send_message(Encoded(message + b"!"))

    class Raw:
        def __mapping__(self) -> dict[str, Handler]:
            return {CHAT: Handler(handler, Cardinality.STREAM_STREAM, Encoded, Encoded)}

    async with running([Raw()]) as channel:
        async with channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, Encoded) as stream:
            await stream.send_message(Encoded(b"not protobuf"), end=True)
            assert [message async for message in stream] == [b"not protobuf!"]


async def test_encoded_messages_stand_in_for_typed_ones() -> None:
    request = EchoRequest(payload=b"ready made")
    async with running([Echo()]) as channel:
        reply = await EchoStub(channel).Unary(Encoded(request.SerializeToString()))
        assert reply.payload == b"ready made"


async def test_receive_available_takes_what_has_come() -> None:
    async with in_memory([Echo()]) as (channel, _), EchoStub(channel).Chat.open() as stream:
        await stream.send_request()
        assert stream.recv_message_nowait() is None
        for number in range(5):
            stream.send_message_nowait(EchoRequest(payload=b"%d" % number))
        batch = await stream.receive_available()
        assert [reply.payload for reply in batch] == [b"0", b"1", b"2", b"3", b"4"]
        stream.send_message_nowait(EchoRequest(payload=b"last"), end=True)
        assert len(await stream.receive_available()) == 1
        assert await stream.receive_available() == []


async def test_receive_available_loses_nothing_before_a_bad_message() -> None:
    seen: list[object] = []
    done = trio.Event()

    async def handler(stream: Any) -> None:
        seen.append(len(await stream.receive_available()))
        try:
            await stream.receive_available()
        except GRPCError as error:
            seen.append(error.status)
        done.set()

    async with in_memory([chat(handler)]) as (channel, _):
        call = channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, Encoded)
        async with call as stream:
            await stream.send_request()
            for body in (b"", b"", b"\xff\xff", b""):
                stream.send_message_nowait(Encoded(body))
            await done.wait()
            await stream.cancel()
    assert seen == [2, Status.INTERNAL]


async def test_only_one_task_receives() -> None:
    async with running([Echo()]) as channel, EchoStub(channel).Chat.open() as stream:
        await stream.send_request()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.recv_message)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.recv_message()
            nursery.cancel_scope.cancel()
        await stream.cancel()


async def test_tasks_take_turns_even_if_nothing_blocks() -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with in_memory([Echo()]) as (channel, _), trio.open_nursery() as nursery:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_request()
            nursery.start_soon(count_turns)
            before = turns
            for _ in range(1280):
                await stream.send_message(EchoRequest())
            assert turns - before >= 16
            await stream.cancel()
        nursery.cancel_scope.cancel()
