"""Calls that a server which stops does not wait for."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from _raw_client import raw, raw_client
from echo_pb2 import EchoReply
from echo_service import CHAT, Echo, One

from trioraft.rpc import (
    Cardinality,
    Limited,
    Service,
    Status,
    Unawaited,
)

BACKGROUND = "/test.Background/Forever"


def background() -> Service:
    """A service with a stream that never ends by itself."""

    async def forever(stream: Any) -> None:
        while await stream.recv_message() is not None:
            await stream.send_message(EchoReply(payload=b"here"))

    return One(forever, Cardinality.STREAM_STREAM, BACKGROUND)


async def test_calls_that_nobody_waits_for_end_with_the_last_other_one(
    autojump_clock: object,
) -> None:
    services = [Echo(), Limited(Unawaited(background()), 100)]
    async with raw(services) as (server, client, listener), trio.open_nursery() as nursery:
        async with raw_client(listener.dial) as peer:
            attends = await peer.request(BACKGROUND)
            call = await client.request(CHAT)
            await trio.testing.wait_all_tasks_blocked()
            begin = trio.current_time()
            nursery.start_soon(server.stop)
            await trio.sleep(100)
            assert not peer.statuses()  # the other call may need it
            client.engine.end_stream(call)
            await client.flush()
            await client.until(lambda: client.statuses().get(call) == (0, ""))
            await peer.until(peer.statuses)
            assert peer.statuses()[attends][0] == Status.UNAVAILABLE.value
            await server.wait_stopped()
            assert trio.current_time() - begin == pytest.approx(100, abs=2)


async def test_with_nothing_to_wait_for_it_takes_no_time(autojump_clock: object) -> None:
    async with raw([Unawaited(background())]) as (server, client, _):
        attends = await client.request(BACKGROUND)
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        await server.stop()
        assert client.statuses()[attends][0] == Status.UNAVAILABLE.value
        assert trio.current_time() - begin < 2
