"""Ages, idleness and keepalive of connections, on a virtual clock and bare frames."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from _raw_client import MAX_STREAM_ID, raw, raw_client
from echo_service import CHAT, Echo, chat

from trioraft.rpc import ConnectionLifetime, ServerKeepalive, Status, open_server
from trioraft.rpc.testing import MemoryListener

CALM = 11


# ---- age -----------------------------------------------------------------------------------------


async def test_the_maximum_age_and_its_grace(autojump_clock: object) -> None:
    lifetime = ConnectionLifetime(max_age=1000, max_age_grace=50)
    async with raw([Echo()], lifetime=lifetime, rng=random.Random(5)) as (_, client, _):
        age = 1000 * random.Random(5).uniform(0.9, 1.1)
        call = await client.request(CHAT)
        await client.until(client.goaways)
        assert trio.current_time() == pytest.approx(age)
        await client.until(lambda: len(client.goaways()) > 1)
        assert client.goaways() == [(MAX_STREAM_ID, 0, b""), (call, 0, b"")]
        await client.until(client.statuses)
        assert trio.current_time() == pytest.approx(age + 50)
        assert client.statuses()[call] == (
            Status.UNAVAILABLE.value,
            "the server ends the call: the connection has reached its maximum age",
        )
        await client.until_closed()


async def test_without_grace_calls_may_go_on_for_ever(autojump_clock: object) -> None:
    async with raw([Echo()], lifetime=ConnectionLifetime(max_age=10)) as (_, client, _):
        call = await client.request(CHAT)
        await trio.sleep(80_000)
        assert client.closed_at is None
        client.engine.end_stream(call)
        await client.flush()
        await client.until(client.statuses)
        assert client.statuses()[call] == (0, "")
        await client.until_closed()


async def test_ages_differ_by_a_tenth_either_way(autojump_clock: object) -> None:
    listener = MemoryListener()
    ends: list[float] = []

    async def live() -> None:
        async with raw_client(listener.dial) as client:
            ends.append(await client.until_closed())

    async with open_server(
        [Echo()],
        listeners=[listener],
        lifetime=ConnectionLifetime(max_age=100),
        rng=random.Random(1),
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(live)
    assert 90 <= min(ends) < 93
    assert 107 < max(ends) <= 110
    assert len({round(end, 6) for end in ends}) == 50


# ---- idleness ------------------------------------------------------------------------------------


async def test_idle_connections_end(autojump_clock: object) -> None:
    async with raw([Echo()], lifetime=ConnectionLifetime(max_idle=100)) as (_, client, _):
        await client.until_closed()
        assert client.goaways()[0][0] == MAX_STREAM_ID
        assert 100 <= trio.current_time() <= 126


async def test_busy_connections_do_not(autojump_clock: object) -> None:
    async with raw([Echo()], lifetime=ConnectionLifetime(max_idle=100)) as (_, client, _):
        for _ in range(20):
            await trio.sleep(70)
            await client.request(end=True)
        begin = trio.current_time()
        await client.until_closed()
        assert 100 <= trio.current_time() - begin <= 126
        assert len(client.statuses()) == 20


async def test_an_open_call_is_not_idle(autojump_clock: object) -> None:
    async with raw([Echo()], lifetime=ConnectionLifetime(max_idle=100)) as (_, client, _):
        call = await client.request(CHAT)
        await trio.sleep(1000)
        assert not client.goaways()
        client.engine.end_stream(call)
        await client.flush()
        begin = trio.current_time()
        await client.until_closed()
        assert 100 <= trio.current_time() - begin <= 126


# ---- keepalive -----------------------------------------------------------------------------------


async def test_a_silent_client_is_asked_and_kept_if_it_answers(autojump_clock: object) -> None:
    keepalive = ServerKeepalive(time=100, timeout=20)
    async with raw([Echo()], keepalive=keepalive) as (_, client, _):
        await trio.sleep(1000)
        pings = client.pings()
        assert len(pings) in range(8, 11)
        assert all(100 <= b - a <= 126 for a, b in pairwise(pings))
        assert client.closed_at is None


async def test_a_silent_client_that_does_not_answer_is_dropped(autojump_clock: object) -> None:
    cancelled: list[float] = []

    async def forever(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    keepalive = ServerKeepalive(time=100, timeout=20)
    async with raw([chat(forever)], keepalive=keepalive) as (server, client, _):
        client.pongs = False
        await client.request(CHAT)
        await client.until_closed()
        [asked] = client.pings()
        assert 100 <= asked <= 126
        assert cancelled == [pytest.approx(asked + 20)]
        assert [code for _, code, _ in client.goaways()] == [0]
        assert server.connections <= 1


async def test_calls_are_a_sign_of_life(autojump_clock: object) -> None:
    async with raw([Echo()], keepalive=ServerKeepalive(time=100, timeout=20)) as (_, client, _):
        for _ in range(20):
            await trio.sleep(70)
            await client.request(end=True)
        assert not client.pings()


async def test_by_default_it_takes_two_hours(autojump_clock: object) -> None:
    async with raw([Echo()]) as (_, client, _):
        await client.until(client.pings)
        assert 7200 <= trio.current_time() <= 9001
        client.pongs = False
        await client.until_closed()
        assert client.pings()[-1] + 20 == pytest.approx(trio.current_time(), abs=2)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ConnectionLifetime, {"max_age": 0}),
        (ConnectionLifetime, {"max_idle": -1}),
        (ConnectionLifetime, {"max_age_grace": -1}),
        (ServerKeepalive, {"time": 0}),
        (ServerKeepalive, {"timeout": float("nan")}),
        (ServerKeepalive, {"min_interval": -1}),
        (ServerKeepalive, {"max_strikes": -1}),
    ],
)
def test_rules_that_make_no_sense(kind: Any, values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        kind(**values)


# ---- what it costs -------------------------------------------------------------------------------


async def test_no_task_per_connection_and_nothing_kept(autojump_clock: object) -> None:
    listener = MemoryListener()
    async with open_server([Echo()], listeners=[listener]) as server:
        timers = server._shared.timers
        for _ in range(200):
            async with raw_client(listener.dial) as client:
                await client.request(end=True)
                await client.until(client.statuses)
        await trio.testing.wait_all_tasks_blocked()
        assert server.connections == 0
        assert not timers._at
        assert not server._shared.connections
        assert len(timers._heap) < 100
