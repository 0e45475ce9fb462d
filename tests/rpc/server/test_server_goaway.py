"""How clients are told that a server stops: two GOAWAYs, and what crosses them."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from _raw_client import MAX_STREAM_ID, raw, raw_client
from echo_service import CHAT, Echo

from trioraft.rpc import (
    open_server,
)
from trioraft.rpc.testing import MemoryListener


async def test_the_two_goaways(autojump_clock: trio.testing.MockClock) -> None:
    async with raw([Echo()]) as (server, client, _), trio.open_nursery() as nursery:
        client.pongs = False
        first, second = await client.request(CHAT), await client.request(CHAT)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        nursery.start_soon(server.stop)
        await client.until(client.pings)
        assert client.goaways() == [(MAX_STREAM_ID, 0, b"")]
        client.engine.end_stream(first)
        await client.flush()
        await client.until(lambda: client.statuses().get(first) == (0, ""))
        await client.until(lambda: len(client.goaways()) > 1)
        assert trio.current_time() - begin == pytest.approx(5)  # for want of a pong
        assert client.goaways()[1] == (second, 0, b"")
        client.engine.end_stream(second)
        await client.flush()
        await client.until(lambda: client.statuses().get(second) == (0, ""))
        await server.wait_stopped()


async def test_with_a_pong_it_takes_no_time(autojump_clock: trio.testing.MockClock) -> None:
    async with raw([Echo()]) as (server, client, _), trio.open_nursery() as nursery:
        call = await client.request(CHAT)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        nursery.start_soon(server.stop)
        await client.until(lambda: len(client.goaways()) > 1)
        assert [last for last, _, _ in client.goaways()] == [MAX_STREAM_ID, call]
        client.engine.end_stream(call)
        await client.flush()
        await server.wait_stopped()
        assert trio.current_time() == begin


async def test_requests_that_cross_the_first_goaway_are_served(autojump_clock: object) -> None:
    listener = MemoryListener()
    async with open_server([Echo()], listeners=[listener]) as server:
        async with raw_client(listener.dial) as client, trio.open_nursery() as nursery:
            client.pongs = False
            await client.request(CHAT)
            # Framed by the client before it reads the GOAWAY, sent after that.
            crossing = client.engine.send_request(
                [
                    (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"),
                    (b":path", CHAT.encode()), (b"te", b"trailers"),
                    (b"content-type", b"application/grpc"),
                ],
                end_stream=True,
            )  # fmt: skip
            held = client.engine.data_to_send()
            nursery.start_soon(server.stop)
            await client.until(client.goaways)
            await client.stream.send_all(held)
            await client.until(lambda: crossing in client.statuses())
            assert client.statuses()[crossing][0] == 0
            await client.until(lambda: len(client.goaways()) > 1)
            assert client.goaways()[1][0] == crossing
            nursery.cancel_scope.cancel()


async def test_clients_that_say_nothing_do_not_keep_it(autojump_clock: object) -> None:
    listener = MemoryListener()
    async with open_server([Echo()], listeners=[listener]) as server:
        await listener.dial()
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 1
        begin = trio.current_time()
        await server.stop(grace=2)
        assert trio.current_time() - begin <= 3.1


async def test_a_greeting_that_comes_late_is_answered_with_goaway(autojump_clock: object) -> None:
    listener = MemoryListener()
    async with open_server([Echo()], listeners=[listener]) as server:
        stream = await listener.dial()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.stop)
            await trio.sleep(1)

            async def dial() -> trio.abc.Stream:
                return stream

            async with raw_client(dial) as client:
                await client.until(client.goaways)
                await server.wait_stopped()
