"""Channels against grpcio's servers, as gRPC's own behave: real sockets, real time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from fleet import asks

from trioraft.rpc import Channel, GRPCError, Keepalive, Limits, Status, open_channel

StartServer = Callable[..., int]


@pytest.fixture
def start() -> Iterator[StartServer]:
    """Start servers that answer with their port, after so many seconds if the request says."""
    servers: list[Any] = []

    def start_one(**options: int) -> int:
        port = 0

        def unary(request: Any, context: Any) -> Any:
            time.sleep(float(request.payload or 0))
            return EchoReply(payload=str(port).encode())

        server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[(f"grpc.{k}", v) for k, v in options.items()]
        )
        method = grpc.unary_unary_rpc_method_handler(
            unary, EchoRequest.FromString, EchoReply.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("trioraft.testing.Echo", {"Unary": method}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return port

    yield start_one
    for server in servers:
        server.stop(0)


async def slowly(channel: Channel, seconds: float) -> None:
    await EchoStub(channel).Unary(EchoRequest(payload=str(seconds).encode()))


async def test_too_many_pings_are_halved_until_they_are_few_enough(start: StartServer) -> None:
    port = start(**{"http2.min_ping_interval_without_data_ms": 60_000, "http2.max_ping_strikes": 1})
    keepalive = Keepalive(time=0.2, floor=0.1)
    async with open_channel(f"127.0.0.1:{port}", keepalive=keepalive) as channel:
        with pytest.raises(GRPCError) as caught:
            await slowly(channel, 1)
        assert caught.value.status is Status.UNAVAILABLE
        pace = channel.connector._shared.pace
        assert pace is not None
        assert pace.time == 0.4
        pace.slow_down("a test")
        await slowly(channel, 1)


async def test_round_robin_over_two(start: StartServer) -> None:
    ports = [start(), start()]
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    async with open_channel(target, balancing="round_robin") as channel:
        channel.connect()
        while len(channel.connector._in_use()) < 2:
            await trio.sleep(0.01)
        answers = await asks(channel, 10)
        assert [answers.count(str(port)) for port in ports] == [5, 5]


async def test_connections_that_age_fail_no_call(start: StartServer) -> None:
    port = start(max_connection_age_ms=300, max_connection_age_grace_ms=5000)
    done = 0

    async def caller(channel: Channel) -> None:
        nonlocal done
        with trio.move_on_after(2):
            while True:
                await slowly(channel, 0.02)
                done += 1

    async with open_channel(f"127.0.0.1:{port}") as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(caller, channel)
            first = channel.connector.current
        assert channel.connector.current is not first
    assert done > 20


async def test_its_stream_limit_is_kept_and_got_around(start: StartServer) -> None:
    port = start(max_concurrent_streams=2)
    for connections, seconds in ((1, 0.8), (2, 0.4)):
        limits = Limits(max_connections_per_address=connections)
        async with open_channel(f"127.0.0.1:{port}", limits=limits) as channel:
            await slowly(channel, 0)
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(slowly, channel, 0.4)
            taken = trio.current_time() - began
            assert len(channel.connector._shared.live) == connections
            assert taken >= seconds
