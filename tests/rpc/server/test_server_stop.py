"""Stopping in good order: nothing that has begun is lost, and it has an end."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from _raw_client import raw
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, Echo, One, chat

from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest, HealthCheckResponse
from trioraft.rpc import (
    GRPCError,
    Limited,
    Limits,
    Status,
    Unawaited,
    open_channel,
    open_server,
    serve,
)
from trioraft.rpc.services import HealthService
from trioraft.rpc.testing import MemoryListener


async def test_open_calls_go_on_and_new_ones_go_elsewhere() -> None:
    async with open_server([Echo()], port=0) as server:
        host, port = server.addresses[0]
        async with open_channel(f"{host}:{port}") as channel, trio.open_nursery() as nursery:
            async with EchoStub(channel).Chat.open() as call:
                await call.send_message(EchoRequest(payload=b"1"))
                assert (await call.recv_message()).payload == b"1"
                nursery.start_soon(partial(server.stop, grace=30))
                with pytest.raises(OSError, match="all attempts to connect"):
                    while True:
                        await trio.sleep(0.01)
                        await (await trio.open_tcp_stream(host, port)).aclose()
                with pytest.raises(GRPCError) as caught:
                    await EchoStub(channel).Unary(EchoRequest(), timeout=5)
                assert caught.value.status is Status.UNAVAILABLE
                assert server.connections == 1
                await call.send_message(EchoRequest(payload=b"2"), end=True)
                assert (await call.recv_message()).payload == b"2"
                assert await call.recv_message() is None
            with trio.fail_after(5):
                await server.wait_stopped()
    assert server.connections == 0


async def test_idle_connections_end_at_once(autojump_clock: object) -> None:
    async with raw([Echo()]) as (server, client, _):
        await client.request(end=True)
        await client.until(client.statuses)
        begin = trio.current_time()
        await server.stop()
        assert trio.current_time() == begin


async def test_the_grace_period_ends_what_has_not_ended(autojump_clock: object) -> None:
    cancelled: list[float] = []

    async def forever(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    async with raw([chat(forever)]) as (server, client, _):
        call = await client.request(CHAT)
        begin = trio.current_time()
        await server.stop(grace=30)
        assert cancelled == [begin + 30]
        assert client.statuses()[call] == (
            int(Status.UNAVAILABLE.value),
            "the server ends the call: the server is stopping",
        )
        assert trio.current_time() <= begin + 31.01


@pytest.mark.parametrize("grace", [0.0, 1e-9])
async def test_no_grace(grace: float, autojump_clock: object) -> None:
    async with raw([Echo()]) as (server, client, _):
        call = await client.request(CHAT)
        await trio.testing.wait_all_tasks_blocked()
        await server.stop(grace=grace)
        assert client.statuses()[call][0] == Status.UNAVAILABLE.value


async def test_the_earlier_end_counts(autojump_clock: object) -> None:
    async with raw([Echo()]) as (server, client, _), trio.open_nursery() as nursery:
        await client.request(CHAT)
        begin = trio.current_time()
        nursery.start_soon(partial(server.stop, grace=1000))
        await trio.sleep(1)
        nursery.start_soon(partial(server.stop, grace=10))
        nursery.start_soon(partial(server.stop, grace=2000))
        await server.wait_stopped()
        assert trio.current_time() - begin == pytest.approx(12, abs=1.1)


async def test_cancelling_the_wait_undoes_nothing(autojump_clock: object) -> None:
    async with raw([Echo()]) as (server, client, listener):
        call = await client.request(CHAT)
        with trio.move_on_after(1):
            await server.stop()
        with pytest.raises(OSError, match="nobody listens"):
            await listener.dial()
        client.engine.end_stream(call)
        await client.flush()
        await server.wait_stopped()
        assert client.statuses()[call][0] == 0


async def test_a_handler_that_cleans_up_is_waited_for(autojump_clock: object) -> None:
    tidy = False

    async def slow(stream: Any) -> None:
        nonlocal tidy
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            tidy = True

    async with raw([chat(slow)]) as (server, client, _):
        await client.request(CHAT)
        await server.stop(grace=1)
        assert tidy


async def test_load_balancers_get_notice(autojump_clock: object) -> None:
    health, listener = HealthService(), MemoryListener()
    async with (
        open_server([Echo(), Limited(health, 1000)], listeners=[listener]) as server,
        open_channel("memory", dial=listener.dial) as channel,
        trio.open_nursery() as nursery,
    ):
        begin = trio.current_time()
        async with HealthStub(channel).Watch.open() as watch:
            await watch.send_message(HealthCheckRequest(), end=True)
            assert (await watch.recv_message()).status == HealthCheckResponse.SERVING
            nursery.start_soon(partial(server.stop, notice=10))
            assert (await watch.recv_message()).status == HealthCheckResponse.NOT_SERVING
            assert trio.current_time() == begin
            with pytest.raises(GRPCError) as caught:
                await watch.recv_message()  # watchers would keep the server from stopping
            assert caught.value.status is Status.UNAVAILABLE
            with suppress(GRPCError):
                await watch.recv_trailing_metadata()
            await watch.cancel()
        await trio.sleep(5)
        async with open_channel("memory", dial=listener.dial) as late:  # it still serves
            reply = await EchoStub(late).Unary(EchoRequest(payload=b"late"))
            assert reply.payload == b"late"
        await server.wait_stopped()
        assert 10 <= trio.current_time() - begin <= 11.1


async def test_serve_until_an_event(autojump_clock: object) -> None:
    stop, answered, listener = trio.Event(), trio.Event(), MemoryListener()

    async def slow(stream: Any) -> None:
        await stream.recv_message()
        answered.set()
        await trio.sleep(3)
        await stream.send_message(EchoReply(payload=b"done"))

    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(
            partial(serve, [One(slow)], listeners=[listener], stop=stop, grace=10)
        )
        assert addresses == [listener]
        async with open_channel("memory", dial=listener.dial) as channel:

            async def ask() -> None:
                reply = await EchoStub(channel).Unary(EchoRequest())
                assert reply.payload == b"done"

            async with trio.open_nursery() as asking:
                asking.start_soon(ask)
                await answered.wait()
                stop.set()


async def test_stopping_before_anybody_came() -> None:
    async with open_server([Echo()], port=0) as server:
        with trio.fail_after(5):
            await server.stop()
            await server.stop(grace=0)


async def test_the_handshake_limit_still_holds(autojump_clock: object) -> None:
    listener = MemoryListener()
    limits = Limits(handshake_timeout=3)
    async with open_server([Echo()], listeners=[listener], limits=limits) as server:
        await listener.dial()
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        await server.stop()
        assert trio.current_time() - begin == pytest.approx(3, abs=0.3)


async def test_what_is_announced_is_told_once(autojump_clock: object) -> None:
    told: list[float] = []

    class Told(Echo):
        def stopping(self) -> None:
            told.append(trio.current_time())

    async with raw([Unawaited(Told())]) as (server, client, _):
        begin = trio.current_time()
        server.announce_stop()
        assert told == [begin]
        await trio.sleep(10)
        await client.request(end=True)  # nothing else has changed
        await client.until(client.statuses)
        await server.stop()
        assert told == [begin]
