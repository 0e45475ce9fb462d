"""What leaves before the scheduler's pass is over, so that two ends do not work in turns."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, chat, in_memory, running

from trioraft.rpc import GRPCError, Status, open_channel
from trioraft.rpc.wire import pipe

KIB = 1024


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[int]]:
    """Bytes of each write without waiting, by socket: those of both ends."""
    found: dict[int, list[int]] = {}
    send_now = pipe._SocketPipe.send_now

    def spy(self: Any, data: bytes) -> int:
        sent = send_now(self, data)
        found.setdefault(self._fd(), []).append(sent)
        return sent

    monkeypatch.setattr(pipe._SocketPipe, "send_now", spy)
    return found


async def test_requests_of_many_callers_leave_in_parts(writes: dict[int, list[int]]) -> None:
    """20 callers of one pass: 8 requests, 8, and the rest; their replies likewise."""
    async with running([Echo()]) as channel:
        stub = EchoStub(channel)
        assert (await stub.Unary(EchoRequest(payload=b"warm"))).payload == b"warm"
        writes.clear()
        replies: set[bytes] = set()

        async def call(number: int) -> None:
            reply = await stub.Unary(EchoRequest(payload=b"%d" % number))
            replies.add(reply.payload)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
        assert replies == {b"%d" % number for number in range(20)}
        ours, theirs = sorted(writes.values(), key=sum)
        assert len(ours) >= 3
        assert len(theirs) >= 3


async def test_few_requests_leave_together(writes: dict[int, list[int]]) -> None:
    async with running([Echo()]) as channel:
        stub = EchoStub(channel)
        await stub.Unary(EchoRequest(payload=b"warm"))
        writes.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(7):
                nursery.start_soon(stub.Unary, EchoRequest(payload=b"x"))
        assert [len(sizes) for sizes in writes.values()] == [1, 1]


async def test_messages_of_a_stream_leave_while_more_are_sent(
    writes: dict[int, list[int]],
) -> None:
    async def many(stream: Any) -> None:
        await stream.recv_message()
        before = sum(map(len, writes.values()))
        for number in range(40):  # without giving way
            await stream.send_message(EchoReply(index=number))
        assert sum(map(len, writes.values())) - before == 2
        async for _ in stream:
            pass

    async with running([chat(many)]) as channel, EchoStub(channel).Chat.open() as stream:
        await stream.send_message(EchoRequest())
        assert [(await stream.recv_message()).index for _ in range(40)] == [*range(40)]
        writes.clear()
        for _ in range(40):
            await stream.send_message(EchoRequest())
        assert sum(map(len, writes.values())) == 2
        await stream.end()
        assert await stream.recv_message() is None


async def test_what_a_full_socket_leaves_over_stays_in_order() -> None:
    """The first read comes when the kernel's buffers, both of them, have long been full."""
    wake = trio.Event()

    async def late(stream: Any) -> None:
        await wake.wait()
        async for request in stream:
            await stream.send_message(EchoReply(index=len(request.payload)))

    sizes = [KIB * (1 + number % 60) for number in range(400)]
    async with running([chat(late)]) as channel, EchoStub(channel).Chat.open() as stream:

        async def send() -> None:
            for size in sizes:
                await stream.send_message(EchoRequest(payload=bytes(size)))
            await stream.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.05)
            wake.set()
            with trio.fail_after(30):
                assert [reply.index async for reply in stream] == sizes


async def test_a_connection_that_breaks_meanwhile_fails_the_next_send() -> None:
    """The write in the middle of a pass meets the reset; whoever sends hears of it."""
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    broken = trio.Event()

    async def break_it() -> None:
        accepted = await listener[0].accept()
        await accepted.send_all(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS
        heard = b""
        while b"first" not in heard:
            heard += await accepted.receive_some()
        accepted.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.socket.close()
        broken.set()

    async with trio.open_nursery() as nursery, listener[0]:
        nursery.start_soon(break_it)
        async with open_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(GRPCError) as caught, trio.fail_after(20):
                async with EchoStub(channel).Chat.open() as stream:
                    await stream.send_message(EchoRequest(payload=b"first"))
                    await broken.wait()
                    for _ in range(4000):
                        await stream.send_message(EchoRequest(payload=b"x" * KIB))
            assert caught.value.status is Status.UNAVAILABLE
        nursery.cancel_scope.cancel()


async def test_streams_that_only_send_by_waiting_send_once_a_pass() -> None:
    async with in_memory([Echo()]) as (channel, network):
        stub = EchoStub(channel)
        await stub.Unary(EchoRequest(payload=b"warm"))
        before = len(network.client_ends[0].sends)
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(stub.Unary, EchoRequest(payload=b"x"))
        assert len(network.client_ends[0].sends) - before == 1
