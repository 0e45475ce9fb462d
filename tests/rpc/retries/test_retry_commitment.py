"""When a call with a retry policy settles for the attempt that it has."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from retry_kit import CHAT, UNARY, UPLOAD, call, config, converse, failing
from scripted_server import Request, scripted

from trioraft.rpc import Encoded, GRPCError, Limits, Status
from trioraft.rpc.client.retrying.retry import RetriedStream


async def test_response_headers_commit(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await request.headers_only()
        await request.end(Status.UNAVAILABLE)

    async with scripted(script, service_config=config()) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel)
        assert len(server.requests) == 1


@pytest.mark.parametrize("bound", ["call", "channel"])
async def test_more_than_is_kept_commits_to_the_stream_that_is_open(
    bound: str, autojump_clock: trio.testing.MockClock
) -> None:
    limits = Limits(max_replay=100) if bound == "call" else Limits(max_replay_channel=100)

    async with scripted(failing(1), limits=None, service_config=config()) as (plain, _):
        assert plain.plans is not None
        assert plain.plans.account.limit == 16 * 2**20
    async with (
        scripted(failing(1), service_config=config(), channel_limits=limits) as (channel, server),
        call(channel, UPLOAD) as stream,
    ):
        assert isinstance(stream, RetriedStream)
        for _ in range(4):
            await stream.send_message(Encoded(bytes(30)))
        assert stream._committed
        await stream.end()
        with pytest.raises(GRPCError) as caught:
            await stream.recv_message()
        assert caught.value.status is Status.UNAVAILABLE
        assert [len(each) for each in server.requests[0].messages] == [30] * 4
        assert len(server.requests) == 1
        assert channel.plans is not None
        assert channel.plans.account.used == 0
        await stream.cancel()


async def test_a_large_unary_request_is_sent_but_not_retried(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with scripted(failing(1), service_config=config()) as (channel, server):
        async with call(channel, UNARY) as stream:
            await stream.send_message(Encoded(bytes(300 * 1024)), end=True)
            with pytest.raises(GRPCError):
                await stream.recv_message()
            await stream.cancel()
        assert len(server.requests) == 1


async def test_room_runs_out_between_two_attempts(autojump_clock: trio.testing.MockClock) -> None:
    """What does not fit goes out with the next attempt, which is the last; senders wait for it."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await request.fail(Status.UNAVAILABLE)
        else:
            await request.ended.wait()
            await request.reply()

    limits = Limits(max_replay=100)
    async with scripted(script, service_config=config(), channel_limits=limits) as (
        channel,
        server,
    ):
        async with call(channel, UPLOAD) as stream:
            await stream.send_request()
            await trio.sleep(0.1)  # the first attempt has failed
            began = trio.current_time()
            for _ in range(4):
                await stream.send_message(Encoded(bytes(30)))
            assert trio.current_time() == began
            assert stream.crowded
            with pytest.raises(trio.WouldBlock):
                stream.send_message_nowait(Encoded(bytes(30)))
            await stream.send_message(Encoded(bytes(30)))
            assert trio.current_time() - began > 0.5
            assert not stream.crowded
            await stream.end()
            assert await stream.recv_message() == b"ok"
        assert [len(each) for each in server.requests[1].messages] == [30] * 5


async def test_after_the_answer_the_call_is_like_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A conversation goes on over the stream of the attempt that was answered."""

    async def script(request: Request) -> None:
        if request.number == 0:
            await request.fail(Status.UNAVAILABLE)
            return
        await request.headers_only()
        heard = 0
        while not request.ended.is_set() or heard < len(request.messages):
            if heard < len(request.messages):
                await request.say(b"re: " + request.messages[heard])
                heard += 1
            await trio.sleep(0.01)
        await request.end()

    async with scripted(script, service_config=config()) as (channel, server):
        async with call(channel, CHAT) as stream:
            await stream.send_message(Encoded(b"0"))
            assert await stream.recv_message() == b"re: 0"
            for index in range(1, 200):
                await stream.send_message(Encoded(b"%d" % index))
                assert await stream.recv_message() == b"re: %d" % index
            stream.queue_message(Encoded(b"more"))
            stream.flush()
            got: list[bytes] = []
            with trio.move_on_after(1):
                await stream.deliver(lambda messages: got.extend(messages) or True)  # type: ignore[func-returns-value]
            assert got == [b"re: more"]
            await stream.end()
            assert await stream.recv_message() is None
        assert len(server.requests) == 2
