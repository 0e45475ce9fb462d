"""Watching the health of real servers, ours and grpcio's, while calls run: none of them fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One
from fleet import ask
from grpc_health.v1 import health as grpcio_health
from grpc_health.v1 import health_pb2, health_pb2_grpc
from health_fleet import CONFIG, config_for

from trioraft.rpc import Channel, open_channel, serve
from trioraft.rpc.services import HealthService, ServingStatus

PATIENCE = 30  # machines are busy


class Callers:
    """Some tasks that call without pause; who has answered since the last look."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._answers: Counter[str] = Counter()

    async def run(self) -> None:
        while True:
            self._answers[await ask(self._channel, wait_for_ready=True)] += 1
            await trio.sleep(0.001)

    async def until_only(self, *names: str) -> None:
        """Until of many answers in a row each is by one of these, and none of them is silent."""
        with trio.fail_after(PATIENCE):
            while True:
                self._answers.clear()
                while self._answers.total() < 40:
                    await trio.sleep(0.005)
                if set(self._answers) == set(names):
                    return


@asynccontextmanager
async def callers_on(target: str, config: dict[str, Any]) -> AsyncIterator[Callers]:
    """Six of them on a round_robin channel. A call that fails ends the test."""
    async with (
        open_channel(target, balancing="round_robin", service_config=config) as channel,
        trio.open_nursery() as nursery,
    ):
        callers = Callers(channel)
        for _ in range(6):
            nursery.start_soon(callers.run)
        yield callers
        nursery.cancel_scope.cancel()


def target_of(ports: list[int]) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)


async def test_calls_move_to_the_server_that_is_well() -> None:
    async def answer(name: str, stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep(0.002)
        await stream.send_message(EchoReply(payload=name.encode()))

    healths = {name: HealthService() for name in "ab"}
    ports: list[int] = []
    async with trio.open_nursery() as nursery:
        for name, health in healths.items():
            health.set("shop", ServingStatus.SERVING)
            services = [One(partial(answer, name)), health]
            [(_, port)] = await nursery.start(partial(serve, services, host="127.0.0.1", port=0))
            ports.append(port)
        async with callers_on(target_of(ports), CONFIG) as callers:
            await callers.until_only("a", "b")
            healths["a"].set("shop", ServingStatus.NOT_SERVING)
            await callers.until_only("b")
            healths["a"].set("shop", ServingStatus.SERVING)
            healths["b"].shutdown()
            await callers.until_only("a")
            healths["a"].shutdown()  # now calls wait
            await trio.sleep(0.1)
            healths["b"].resume()
            await callers.until_only("b")
        nursery.cancel_scope.cancel()


@pytest.fixture
def grpcio_servers() -> Iterator[dict[int, Any]]:
    """Two servers that answer with their port, and what says how they are; by port."""
    servers: list[Any] = []
    healths: dict[int, Any] = {}
    for _ in range(2):
        server = grpc.server(futures.ThreadPoolExecutor(8))
        port = server.add_insecure_port("127.0.0.1:0")

        def unary(request: Any, context: Any, name: bytes = b"%d" % port) -> Any:
            return EchoReply(payload=name)

        method = grpc.unary_unary_rpc_method_handler(
            unary, EchoRequest.FromString, EchoReply.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler("trioraft.testing.Echo", {"Unary": method})
        server.add_generic_rpc_handlers((handler,))
        healths[port] = grpcio_health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healths[port], server)
        server.start()
        servers.append(server)
    yield healths
    for server in servers:
        server.stop(0)


async def test_grpcio_servers_are_watched(grpcio_servers: dict[int, Any]) -> None:
    """Its Watch, SERVICE_UNKNOWN for a name that nobody has set included."""
    status = health_pb2.HealthCheckResponse
    ports = list(grpcio_servers)
    first, second = (str(port) for port in ports)
    healths = list(grpcio_servers.values())
    healths[0].set("shop", status.SERVING)
    async with callers_on(target_of(ports), config_for("shop")) as callers:
        await callers.until_only(first)
        healths[1].set("shop", status.SERVING)
        await callers.until_only(first, second)
        healths[0].set("shop", status.NOT_SERVING)
        await callers.until_only(second)
