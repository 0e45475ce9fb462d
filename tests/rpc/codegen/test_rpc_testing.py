"""The in-memory server and channel themselves."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, chat
from trio.testing import MockClock

from trioraft.rpc import GRPCError, Limits, ServerStream, Status, open_channel, serve
from trioraft.rpc.testing import MemoryListener, open_test_channel


async def test_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(trio.socket, "socket", refuse)
    async with open_test_channel([Echo()]) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"a"))
    assert reply.payload == b"a"


async def test_time_is_virtual(autojump_clock: MockClock) -> None:
    async def handle(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        await trio.sleep(3600)
        await stream.send_message(EchoReply())

    async with open_test_channel([chat(handle)]) as channel:
        started = trio.current_time()
        assert len(await EchoStub(channel).Chat([EchoRequest()])) == 1
        assert trio.current_time() - started == pytest.approx(3600)


async def test_limits_hold_on_their_side() -> None:
    async with open_test_channel(
        [Echo()], limits=Limits(max_receive_message=100), client_limits=Limits()
    ) as channel:
        with pytest.raises(GRPCError, match="limit of 100") as caught:
            await EchoStub(channel).Unary(EchoRequest(payload=b"x" * 200))
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_test_channel([Echo()]):
            raise ZeroDivisionError


async def test_a_cancelled_block_is_cancelled() -> None:
    with trio.move_on_after(0.01) as scope:
        async with open_test_channel([Echo()]):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_opening_it_cancelled_leaves_nothing() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_test_channel([Echo()]) as channel:
            await EchoStub(channel).Unary(EchoRequest())
    assert scope.cancelled_caught


async def test_services_that_clash_are_refused() -> None:
    with pytest.raises(ValueError, match="two services offer"):
        async with open_test_channel([Echo(), Echo()]):
            pass


async def test_calls_end_with_the_block() -> None:
    ended = trio.Event()

    async def handle(_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async def call() -> None:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Chat([EchoRequest()])
        assert caught.value.status is Status.UNAVAILABLE

    async with trio.open_nursery() as nursery:
        async with open_test_channel([chat(handle)]) as channel:
            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked()
        assert ended.is_set()


# ---- a listener of its own -----------------------------------------------------------------------


async def test_several_channels_and_a_broken_connection(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    open_one = partial(open_channel, "memory", dial=listener.dial)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[listener]))
        async with open_one() as first, open_one() as second:
            for channel in (first, second):
                await EchoStub(channel).Unary(EchoRequest())
            with pytest.raises(GRPCError) as caught:
                async with EchoStub(first).Chat.open() as call:
                    await call.send_request()
                    await trio.testing.wait_all_tasks_blocked()
                    await listener.disconnect()
                    await call.recv_message()
            assert caught.value.status is Status.UNAVAILABLE
            for channel in (first, second):
                assert (await EchoStub(channel).Unary(EchoRequest(payload=b"a"))).payload == b"a"
        nursery.cancel_scope.cancel()


async def test_nobody_answers_a_closed_listener(autojump_clock: MockClock) -> None:
    listener = MemoryListener()
    await listener.aclose()
    with pytest.raises(OSError, match="nobody listens"):
        await listener.dial()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
    async with open_channel("memory", dial=listener.dial) as channel:
        with pytest.raises(GRPCError, match="nobody listens") as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.UNAVAILABLE


async def test_disconnect_breaks_all_of_them_though_cancelled() -> None:
    listener = MemoryListener()
    ends = [await listener.dial() for _ in range(3)]
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.disconnect()
    for end in ends:
        with pytest.raises(trio.ClosedResourceError):
            await end.send_all(b"x")


async def test_who_was_not_accepted_when_a_listener_closes_hears_of_it_at_once(
    autojump_clock: MockClock,
) -> None:
    listener = MemoryListener(backlog=2)
    ends: list[trio.abc.Stream] = []

    async def dial() -> None:
        ends.append(await listener.dial())

    start = trio.current_time()
    async with (
        open_channel("memory", dial=listener.dial) as channel,
        trio.open_nursery() as nursery,
    ):
        channel.connect()
        for _ in range(3):  # one of them waits for the backlog
            nursery.start_soon(dial)
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        await channel.wait_for_state_change("CONNECTING")
        assert channel.state == "TRANSIENT_FAILURE"
    assert len(ends) == 3
    for end in ends:
        assert await end.receive_some() == b""
    assert trio.current_time() == start
