"""What happens at each bound: a clear status, for one call only."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, Echo, One, chat, in_memory, running, serving

from trioraft.rpc import Cardinality, Encoded, GRPCError, Limits, Status, open_channel

KIB = 1024
BIG = EchoRequest(payload=bytes(20 * KIB))
TIGHT = Limits(max_receive_message=10 * KIB)
TIGHT_SEND = Limits(max_send_message=10 * KIB)


async def status_of(call: Any) -> GRPCError:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value


async def test_an_oversized_request_is_refused_and_the_connection_lives() -> None:
    async with running([Echo()], limits=TIGHT) as channel:
        stub = EchoStub(channel)
        for call in (stub.Unary(BIG), stub.Collect([EchoRequest(), BIG]), stub.Expand(BIG)):
            error = await status_of(call)
            assert error.status is Status.RESOURCE_EXHAUSTED
            assert "over the limit of 10240" in str(error.message)
        assert (await stub.Unary(EchoRequest(payload=b"x"))).payload == b"x"


async def test_messages_before_an_oversized_one_are_answered() -> None:
    async with running([Echo()], limits=TIGHT) as channel:
        async with EchoStub(channel).Chat.open() as stream:
            await stream.send_message(EchoRequest(payload=b"fine"))
            await stream.send_message(BIG)
            assert (await stream.recv_message()).payload == b"fine"
            error = await status_of(stream.recv_message())
            assert error.status is Status.RESOURCE_EXHAUSTED
            await stream.cancel()


async def test_messages_before_an_oversized_one_can_be_taken_late() -> None:
    """The rest of the stream is dropped and its window handed back, whoever takes what when."""
    counted: list[object] = []

    async def handler(stream: Any) -> None:
        await trio.sleep(0.05)
        try:
            while request := await stream.recv_message():
                counted.append(len(request.payload))
        except GRPCError as error:
            counted.append(error.status)

    limits = Limits(stream_window=64 * KIB, max_receive_message=4 * KIB)
    async with (
        running([chat(handler)], limits=limits) as channel,
        EchoStub(channel).Chat.open() as stream,
    ):
        for size in [KIB] * 30 + [5 * KIB] * 100:
            await stream.send_message(EchoRequest(payload=bytes(size)))
        assert await stream.recv_message() is None
    assert counted == [KIB] * 30 + [Status.RESOURCE_EXHAUSTED]


async def test_the_body_of_an_oversized_message_is_never_awaited() -> None:
    """The prefix is enough to refuse: nothing of a 4 GiB message is kept."""
    async with running([Echo()]) as channel:
        async with channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, Encoded) as stream:
            await stream.send_request()
            channel.connector.current.engine.send_data(
                stream._id, b"\0\xff\xff\xff\xff" + bytes(1000)
            )
            channel.connector.current.mark_dirty()
            error = await status_of(stream.recv_message())
            assert error.status is Status.RESOURCE_EXHAUSTED
            await stream.cancel()


async def test_an_oversized_reply_is_refused_by_the_client() -> None:
    ended = trio.Event()

    async def handler(stream: Any) -> None:
        try:
            await stream.send_message(EchoReply(payload=bytes(20 * KIB)))
            await trio.sleep_forever()
        finally:
            ended.set()

    async with running([One(handler), chat_echo()], client=TIGHT) as channel:
        error = await status_of(EchoStub(channel).Unary(EchoRequest()))
        assert error.status is Status.RESOURCE_EXHAUSTED
        with trio.fail_after(10):
            await ended.wait()  # the server was told to stop
        assert await EchoStub(channel).Chat([EchoRequest()]) == [EchoReply()]


def chat_echo() -> One:
    return chat(Echo().Chat)


async def test_oversized_sends_are_refused_locally() -> None:
    async with running([Echo()], limits=TIGHT_SEND, client=TIGHT_SEND) as channel:
        stub = EchoStub(channel)
        error = await status_of(stub.Unary(BIG))
        assert error.status is Status.RESOURCE_EXHAUSTED
        assert "sending limit" in str(error.message)
        error = await status_of(stub.Collect([EchoRequest(payload=bytes(6 * KIB))] * 2))
        assert error.status is Status.RESOURCE_EXHAUSTED
        assert (await stub.Unary(EchoRequest(payload=b"x"))).payload == b"x"


async def test_exact_limits_pass() -> None:
    size = len(BIG.SerializeToString())
    limits = Limits(max_receive_message=size, max_send_message=size)
    async with running([Echo()], limits=limits, client=limits) as channel:
        assert len((await EchoStub(channel).Unary(BIG)).payload) == 20 * KIB


async def test_oversized_request_headers_are_refused() -> None:
    async with running([Echo()], limits=Limits(max_header_list=4 * KIB)) as channel:
        stub = EchoStub(channel)
        error = await status_of(stub.Unary(EchoRequest(), metadata={"big": "x" * 5000}))
        assert error.status is Status.RESOURCE_EXHAUSTED
        assert "over the limit of 4096" in str(error.message)
        await stub.Unary(EchoRequest())
        error = await status_of(stub.Unary(EchoRequest(), metadata={"huge": "x" * 40_000}))
        assert error.status is Status.UNAVAILABLE  # far beyond: the connection goes
        await stub.Unary(EchoRequest())


async def test_large_trailers_reach_the_client() -> None:
    async def handler(stream: Any) -> None:
        await stream.send_message(EchoReply())
        pairs = [(f"k{number}", "v" * 30_000) for number in range(20)]
        await stream.send_trailing_metadata(metadata=pairs)

    async with running([One(handler)]) as channel, EchoStub(channel).Unary.open() as stream:
        await stream.send_message(EchoRequest())
        await stream.recv_message()
        await stream.recv_trailing_metadata()
        assert len(stream.trailing_metadata["k19"]) == 30_000


async def test_calls_above_the_servers_streams_wait_their_turn() -> None:
    running_now = most = 0

    async def handler(stream: Any) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await trio.sleep(0.01)
        running_now -= 1
        await stream.send_message(EchoReply())

    async with running([One(handler)], limits=Limits(max_concurrent_streams=3)) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
    assert most == 3


async def test_calls_that_wait_are_bounded() -> None:
    async def handler(stream: Any) -> None:
        await trio.sleep_forever()

    client = Limits(max_concurrent_streams=2, max_waiting_calls=3)
    async with running([One(handler)], client=client) as channel:
        stub = EchoStub(channel)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(stub.Unary, EchoRequest())
                await trio.sleep(0.01)
            error = await status_of(stub.Unary(EchoRequest()))
            assert error.status is Status.RESOURCE_EXHAUSTED
            nursery.cancel_scope.cancel()


async def test_a_cancelled_waiter_gives_its_place_up() -> None:
    gate = trio.Event()

    async def handler(stream: Any) -> None:
        await gate.wait()
        await stream.send_message(EchoReply())

    async with running([One(handler)], client=Limits(max_concurrent_streams=1)) as channel:
        stub = EchoStub(channel)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stub.Unary, EchoRequest())
            await trio.sleep(0.02)
            with trio.move_on_after(0.02) as scope:
                await stub.Unary(EchoRequest())
            assert scope.cancelled_caught
            nursery.start_soon(stub.Unary, EchoRequest())
            gate.set()


async def test_connections_are_bounded() -> None:
    async with serving([Echo()], limits=Limits(max_connections=2)) as address:
        async with open_channel(address) as one, open_channel(address) as two:
            await EchoStub(one).Unary(EchoRequest())
            await EchoStub(two).Unary(EchoRequest())
            async with open_channel(address) as three:
                error = await status_of(EchoStub(three).Unary(EchoRequest()))
                assert error.status is Status.UNAVAILABLE
        await trio.sleep(0.05)
        async with open_channel(address) as four:
            await EchoStub(four).Unary(EchoRequest())


async def test_reset_handlers_that_linger_are_bounded() -> None:
    """Calls that are reset at once do not pile up handlers that take long to clean up."""
    alive = most = 0
    release = trio.Event()

    async def lingering(stream: Any) -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        with trio.CancelScope(shield=True):
            await release.wait()
        alive -= 1

    limits = Limits(max_concurrent_streams=4)
    async with in_memory([chat(lingering)], limits=limits) as (channel, _):
        for _ in range(30):
            async with EchoStub(channel).Chat.open() as stream:
                await stream.send_request()
                await trio.testing.wait_all_tasks_blocked()
                await stream.cancel()
        assert most == 8
        release.set()


@pytest.mark.parametrize(
    "setting",
    [
        {"max_receive_message": -1},
        {"max_send_message": 2**32},
        {"stream_window": 0},
        {"stream_window": 2**31},
        {"max_concurrent_streams": 0},
        {"reconnect_min": 2, "reconnect_max": 1},
        {"stream_window": 2**21},
    ],
)
def test_senseless_limits_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Limits(**setting)
