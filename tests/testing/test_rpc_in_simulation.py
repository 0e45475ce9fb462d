"""The gRPC layer on the simulated network: nothing in it may escape the seed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from trioraft.rpc import (
    Cardinality,
    Channel,
    Encoded,
    GRPCError,
    Handler,
    Limits,
    open_channel,
    serve,
)
from trioraft.testing.network import LinkSettings, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded

HOSTS = ["a", "b", "c"]
CALLS = 40  # from each host to each
LIMITS = Limits(reconnect_min=0.05, reconnect_max=0.5, connect_timeout=1.0)


class EchoService:
    """Echoes single messages and streams, after a delay that the request names in milliseconds."""

    def __mapping__(self) -> dict[str, Handler]:
        return {
            "/Echo/One": Handler(self.one, Cardinality.UNARY_UNARY, Encoded, Encoded),
            "/Echo/Many": Handler(self.many, Cardinality.STREAM_STREAM, Encoded, Encoded),
        }

    async def one(self, stream: Any) -> None:
        request = await stream.recv_message()
        await trio.sleep(request[0] / 1000)
        await stream.send_message(Encoded(request))

    async def many(self, stream: Any) -> None:
        async for request in stream:
            await stream.send_message(Encoded(request))


async def call_one(channel: Channel, rng: random.Random) -> None:
    message = rng.randbytes(rng.randrange(1, 3000))
    async with channel.request(
        "/Echo/One", Cardinality.UNARY_UNARY, Encoded, Encoded, timeout=0.3
    ) as stream:
        await stream.send_message(Encoded(message), end=True)
        assert await stream.recv_message() == message


async def call_many(channel: Channel, rng: random.Random) -> None:
    async with channel.request(
        "/Echo/Many", Cardinality.STREAM_STREAM, Encoded, Encoded, timeout=1.0
    ) as stream:
        await stream.send_request()
        for _ in range(10):
            message = rng.randbytes(rng.randrange(1, 20_000))
            await stream.send_message(Encoded(message))
            assert await stream.recv_message() == message
        await stream.end()


class Cluster:
    """Three hosts that call each other while their links fail."""

    def __init__(self, run: SeededRun, network: SimNetwork) -> None:
        self.outcomes: Counter[str] = Counter()
        self._run = run
        self._network = network
        self._rng = run.rng("cluster")

    async def start(self, nursery: trio.Nursery) -> None:
        for host in HOSTS:
            listener = await self._network.listen(f"{host}:1")
            await nursery.start(partial(serve, [EchoService()], listeners=[listener]))

    def open_channel(self, source: str, target: str) -> Channel:
        async def dial() -> SimStream:
            return await self._network.dial(source, f"{target}:1")

        rng = self._run.rng(f"channel {source} {target}")
        return open_channel(f"{target}:1", dial=dial, rng=rng, limits=LIMITS)

    async def call_for_a_while(self, source: str, target: str) -> None:
        kinds: list[Callable[[Channel, random.Random], Awaitable[None]]] = [call_one, call_many]
        async with self.open_channel(source, target) as channel:
            for number in range(CALLS):
                kind = kinds[number % 2]
                try:
                    await kind(channel, self._rng)
                    outcome = "OK"
                except GRPCError as error:
                    outcome = error.status.name
                self.outcomes[outcome] += 1
                self._run.trace.record(f"call {source} {target} {kind.__name__} {outcome}")
                await trio.sleep(self._rng.uniform(0.0, 0.1))

    async def break_links(self) -> None:
        for _ in range(6):
            await trio.sleep(self._rng.uniform(0.1, 0.5))
            one, other = self._rng.sample(HOSTS, 2)
            lose, one_way = self._rng.random() < 0.3, self._rng.random() < 0.3
            self._network.partition(one, other, lose=lose, one_way=one_way)
            await trio.sleep(self._rng.uniform(0.1, 0.8))
            self._network.heal()
            self._network.reset(one, other, after_bytes=self._rng.randrange(5000))


async def calls_under_failures(run: SeededRun) -> tuple[str, Counter[str]]:
    settings = LinkSettings(latency_max=0.01, split=0.2)
    network = SimNetwork(run.rng("network"), settings, trace=run.trace)
    async with network, trio.open_nursery() as servers:
        cluster = Cluster(run, network)
        await cluster.start(servers)
        async with trio.open_nursery() as callers:
            callers.start_soon(cluster.break_links)
            for source in HOSTS:
                for target in HOSTS:
                    callers.start_soon(cluster.call_for_a_while, source, target)
        for source in HOSTS:
            for target in HOSTS:
                async with cluster.open_channel(source, target) as channel:
                    await call_one(channel, run.rng("after"))
        servers.cancel_scope.cancel()
    return run.trace.hash(), cluster.outcomes


def test_calls_survive_failures_and_repeat_from_their_seed() -> None:
    for seed in (1, 2):
        first, outcomes = run_seeded(calls_under_failures, seed)
        again, _ = run_seeded(calls_under_failures, seed)
        assert first == again, f"seed {seed} gave two different runs"
        assert outcomes["OK"] > 200, outcomes
        assert outcomes["UNAVAILABLE"] > 0, outcomes
        assert outcomes["DEADLINE_EXCEEDED"] > 0, outcomes
        assert outcomes.total() == len(HOSTS) ** 2 * CALLS
        assert set(outcomes) <= {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}, outcomes


def test_the_same_run_in_processes_with_other_string_hashes() -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_rpc_in_simulation import calls_under_failures\n"
        "from trioraft.testing.scheduler import run_seeded\n"
        "print(run_seeded(calls_under_failures, 5)[0])\n"
    )
    hashes = [
        subprocess.run(
            [sys.executable, "-c", script, os.path.dirname(__file__)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0].strip() == run_seeded(calls_under_failures, 5)[0]


def test_a_killed_server_fails_its_calls_and_its_successor_serves_the_channel() -> None:
    async def main(run: SeededRun) -> None:
        async with SimNetwork(run.rng("network")) as network, trio.open_nursery() as nursery:
            cluster = Cluster(run, network)

            async def serve_until_killed(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
                with trio.CancelScope() as scope:
                    listener = await network.listen("a:1")
                    async with trio.open_nursery() as server:
                        await server.start(partial(serve, [EchoService()], listeners=[listener]))
                        task_status.started(scope)

            async def kill(scope: trio.CancelScope) -> None:
                await trio.sleep(0.1)
                network.kill_host("a")
                scope.cancel()

            scope = await nursery.start(serve_until_killed)
            async with cluster.open_channel("b", "a") as channel:
                await call_one(channel, run.rng("calls"))
                nursery.start_soon(kill, scope)
                start = trio.current_time()
                assert await status_of(wait_a_quarter_second(channel)) == "UNAVAILABLE"
                assert trio.current_time() - start < 0.2
                assert await status_of(call_one(channel, run.rng("dead"))) == "UNAVAILABLE"
                await nursery.start(serve_until_killed)
                await trio.sleep(LIMITS.reconnect_max)
                await call_one(channel, run.rng("alive"))
            nursery.cancel_scope.cancel()

    run_seeded(main, 0)


async def wait_a_quarter_second(channel: Channel) -> None:
    async with channel.request("/Echo/One", Cardinality.UNARY_UNARY, Encoded, Encoded) as stream:
        await stream.send_message(Encoded(bytes([250])), end=True)
        await stream.recv_message()


async def status_of(call: Awaitable[None]) -> str:
    try:
        await call
    except GRPCError as error:
        return error.status.name
    return "OK"
