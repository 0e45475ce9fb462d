"""Clients that ping: how often they may, and what takes their strikes away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from _raw_client import RawClient, raw
from echo_pb2 import EchoReply
from echo_service import CHAT, Echo, One

from trioraft.rpc import ServerKeepalive

CALM = 11


async def pings(client: RawClient, every: float, count: int) -> bool:
    """Ping so often; whether the client is still welcome then."""
    for _ in range(count):
        if client.closed_at is not None:
            break
        await client.ping()
        await trio.sleep(every)
    return client.closed_at is None


@asynccontextmanager
async def with_call(client: RawClient) -> AsyncIterator[None]:
    call = await client.request(CHAT)
    await trio.testing.wait_all_tasks_blocked()
    yield
    client.engine.end_stream(call)
    await client.flush()


async def test_too_many_pings(autojump_clock: object) -> None:
    async with raw([Echo()]) as (_, client, _):
        assert not await pings(client, 290, 10)
        assert client.goaways()[-1] == (0, CALM, b"too_many_pings")
        # The first is free, three strikes are too many.
        assert client.closed_at == pytest.approx(3 * 290, abs=1.1)


async def test_pings_of_a_client_with_calls(autojump_clock: object) -> None:
    async with raw([Echo()]) as (_, client, _):
        async with with_call(client):
            assert await pings(client, 300, 30)
    async with raw([Echo()]) as (_, client, _):
        await client.request(CHAT)
        assert not await pings(client, 290, 10)


async def test_pings_of_a_client_without_calls(autojump_clock: object) -> None:
    async with raw([Echo()]) as (_, client, _):
        assert await pings(client, 7200, 10)
    async with raw([Echo()]) as (_, client, _):
        assert not await pings(client, 300, 10)
    permitting = ServerKeepalive(permit_without_calls=True)
    async with raw([Echo()], keepalive=permitting) as (_, client, _):
        assert await pings(client, 300, 30)


async def test_what_we_send_takes_strikes_away(autojump_clock: object) -> None:
    async with raw([Echo()]) as (_, client, _):
        for _ in range(50):
            assert await pings(client, 1, 2)
            await client.request(end=True)
            await trio.sleep(0.1)
        assert not await pings(client, 1, 5)


async def test_pings_while_a_large_message_goes_out_are_free(autojump_clock: object) -> None:
    """Clients measure the bandwidth with one for every piece that they get."""

    async def large(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=bytes(3_000_000)))

    async with raw([One(large)]) as (_, client, _):
        await client.request(end=True)
        heard = 0
        for _ in range(100):
            await trio.sleep(0.01)
            if len(client.events) > heard and not client.statuses():
                heard = len(client.events)
                await client.ping()
        assert client.closed_at is None


async def test_other_rules(autojump_clock: object) -> None:
    anything = ServerKeepalive(min_interval=0, permit_without_calls=True)
    async with raw([Echo()], keepalive=anything) as (_, client, _):
        assert await pings(client, 0.1, 100)
    strict = ServerKeepalive(min_interval=10, max_strikes=0, permit_without_calls=True)
    async with raw([Echo()], keepalive=strict) as (_, client, _):
        assert await pings(client, 10, 20)
        assert not await pings(client, 9, 2)
