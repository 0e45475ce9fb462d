"""Hedged conversations: sent to all, kept within bounds, cancelled as one."""

from __future__ import annotations

import trio
import trio.testing
from hedging_kit import config, silent
from retry_kit import CHAT, UPLOAD, call, converse
from scripted_server import Request, scripted

from trioraft.rpc import (
    Encoded,
    Limits,
)


async def test_a_conversation_goes_to_all_until_one_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        if request.number != 1:
            await silent(request)
            return
        while len(request.messages) < 3:
            await trio.sleep(0.1)
        await request.headers_only()
        await request.say(b"three")
        await request.ended.wait()
        await request.say(b"all")
        await request.end()

    async with scripted(script, service_config=config()) as (channel, server):
        async with call(channel, CHAT) as stream:
            await stream.send_message(Encoded(b"0"))
            await trio.sleep(1.5)
            stream.send_message_nowait(Encoded(b"1"))
            stream.queue_message(Encoded(b"2"))
            stream.flush()
            assert await stream.recv_message() == b"three"
            await stream.send_message(Encoded(b"3"))
            await stream.end()
            assert await stream.recv_message() == b"all"
            assert await stream.recv_message() is None
        first, second = server.requests
        assert first.messages == [b"0", b"1", b"2"]
        assert second.messages == [b"0", b"1", b"2", b"3"]
        assert first.code == 8


async def test_more_than_is_kept_stays_with_the_oldest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        await request.reply(b"%d" % request.number)

    limits = Limits(max_replay=100)
    async with scripted(script, service_config=config(), channel_limits=limits) as (
        channel,
        server,
    ):
        async with call(channel, UPLOAD) as stream:
            await stream.send_message(Encoded(bytes(30)))
            await trio.sleep(1.5)
            for _ in range(4):
                await stream.send_message(Encoded(bytes(30)))
            await trio.sleep(5)
            assert [each.code for each in server.requests] == [None, 8]
            await stream.end()
            assert await stream.recv_message() == b"0"
        assert len(server.requests[0].messages) == 5
        assert channel.plans is not None
        assert channel.plans.account.used == 0


async def test_what_no_server_has_seen_is_made_up_for_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await request.refuse()
        else:
            await request.ended.wait()
            await request.reply()

    async with scripted(script, service_config=config()) as (channel, server):
        began = trio.current_time()
        assert await converse(channel) == [b"ok"]
        assert trio.current_time() - began < 0.01
        assert b"grpc-previous-rpc-attempts" not in server.requests[1].headers


async def test_leaving_the_block_cancels_all(autojump_clock: trio.testing.MockClock) -> None:
    async with scripted(silent, service_config=config()) as (channel, server):
        with trio.move_on_after(1.5):
            await converse(channel)
        await trio.testing.wait_all_tasks_blocked()
        assert [each.code for each in server.requests] == [8, 8]
        assert channel.connector.ready is not None
        assert not channel.connector.ready.calls
