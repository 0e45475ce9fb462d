"""PINGs on silent connections, and what comes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CountingStream, MemoryNetwork, One

from trioraft.rpc import Channel, GRPCError, Keepalive, ServerKeepalive, Status, open_channel, serve

PING_SIZE, PING = 17, 6


def pings(sent: list[bytes]) -> int:
    """Frames of ours that are PINGs, no acknowledgements. Each is sent alone."""
    return sum(len(data) == PING_SIZE and data[3] == PING and data[4] == 0 for data in sent)


class Cable(CountingStream):
    """A stream that can be cut without either end hearing of it."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        super().__init__(inner)
        self.cut = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends.append(bytes(data))
        if not self.cut:
            await self._inner.send_all(data)


@asynccontextmanager
async def connected(
    handler: Callable[[Any], Any],
    keepalive: Keepalive | None,
    server: ServerKeepalive | None = None,
) -> AsyncIterator[tuple[Channel, list[Cable]]]:
    network, cables = MemoryNetwork(), []

    async def dial() -> trio.abc.Stream:
        cables.append(Cable(await network.dial()))
        return cables[-1]

    async with trio.open_nursery() as nursery:
        server = server or ServerKeepalive(min_interval=0, permit_without_calls=True)
        await nursery.start(partial(serve, [One(handler)], listeners=[network], keepalive=server))
        async with open_channel("memory", dial=dial, keepalive=keepalive) as channel:
            yield channel, cables
        nursery.cancel_scope.cancel()


async def prompt(stream: Any) -> None:
    await stream.send_message(EchoReply())


async def forever(stream: Any) -> None:
    await trio.sleep_forever()


async def call(channel: Channel) -> None:
    await EchoStub(channel).Unary(EchoRequest())


async def test_a_silent_call_is_kept_alive(autojump_clock: object) -> None:
    async with connected(forever, Keepalive(time=10)) as (channel, [*_]):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, channel)
            await trio.sleep(65)
            connection = channel.connector.current
            assert pings(connection._stream.sends) == 6
            nursery.cancel_scope.cancel()


async def test_nothing_comes_back_and_the_calls_fail(autojump_clock: object) -> None:
    async with connected(forever, Keepalive(time=10, timeout=5)) as (channel, cables):
        began = trio.current_time()
        errors: list[GRPCError] = []

        async def hang() -> None:
            with pytest.raises(GRPCError) as caught:
                await call(channel)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            await trio.sleep(1)
            cables[0].cut = True
        assert errors[0].status is Status.UNAVAILABLE
        assert "PING" in str(errors[0].message)
        assert trio.current_time() - began == pytest.approx(15, abs=0.5)
        assert channel.state == "IDLE"


async def test_connections_without_calls_are_left_in_peace(autojump_clock: object) -> None:
    async with connected(prompt, Keepalive(time=10)) as (channel, cables):
        await call(channel)
        await trio.sleep(100)
        assert pings(cables[0].sends) == 0


async def test_the_next_call_after_a_silence_brings_a_ping(autojump_clock: object) -> None:
    async with connected(forever, Keepalive(time=10, timeout=5)) as (channel, cables):
        with trio.move_on_after(1):
            await call(channel)
        await trio.sleep(100)
        cables[0].cut = True
        began = trio.current_time()
        with pytest.raises(GRPCError, match="PING"):
            await call(channel)
        assert trio.current_time() - began == pytest.approx(5)  # the timeout alone


async def test_connections_without_calls_are_asked_if_so_told(autojump_clock: object) -> None:
    keepalive = Keepalive(time=10, timeout=5, without_calls=True)
    async with connected(prompt, keepalive) as (channel, cables):
        await call(channel)
        await trio.sleep(95)
        assert pings(cables[0].sends) == 9
        cables[0].cut = True
        await channel.wait_for_state_change("READY")
        assert trio.current_time() < 130
        await call(channel)
        assert len(cables) == 2


async def test_traffic_is_an_answer(autojump_clock: object) -> None:
    async with connected(prompt, Keepalive(time=10, without_calls=True)) as (channel, cables):
        for _ in range(20):
            await call(channel)
            await trio.sleep(9)
        assert pings(cables[0].sends) == 0


async def test_too_many_pings_double_the_time(autojump_clock: object) -> None:
    """A server that permits one in five minutes closes the connection at the fourth."""
    strict = ServerKeepalive()
    async with connected(forever, Keepalive(time=60), strict) as (channel, cables):
        pace = channel.connector._shared.pace
        assert pace is not None
        for times in (1, 2, 4):
            assert pace.time == 60 * times
            with pytest.raises(GRPCError):
                await call(channel)
            assert pings(cables[-1].sends) in (3, 4)
        assert pace.time == 480
        with trio.move_on_after(5000):
            await call(channel)
        assert pings(cables[-1].sends) == 10  # now they are few enough
        assert len(cables) == 4


async def test_without_keepalive_nothing_is_sent(autojump_clock: object) -> None:
    async with connected(forever, None) as (channel, cables):
        with trio.move_on_after(1000):
            await call(channel)
        assert pings(cables[0].sends) == 0


def test_the_floor(caplog: pytest.LogCaptureFixture) -> None:
    from trioraft.rpc.client.connections.keepalive import Pace

    assert Pace(Keepalive(time=1)).time == 10
    assert "raised" in caplog.text
    assert Pace(Keepalive(time=1, floor=0.5)).time == 1
    with pytest.raises(ValueError, match="positive"):
        Keepalive(time=0)
