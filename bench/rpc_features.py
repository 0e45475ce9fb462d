"""What each feature costs a call that uses it: unary calls over memory, in one process and run.

    python bench/rpc_features.py [--calls 25] [--rounds 150]

Each contestant makes unary calls of 64 bytes, one after the other, in turns, round after round;
each has a server and a channel of its own, which differ from the first contestant's in one thing.
Turns are so short that many of them are not disturbed by anything else on the machine: the table
has the CPU time per call, of both ends together, in each contestant's best tenth of its turns,
and what that is more than the first contestant's.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry

from trioraft.rpc.interceptors.logs import log_calls
from trioraft.rpc.interceptors.metrics import measure_channel, measure_server
from trioraft.rpc.interceptors.prometheus import count_channel, count_server
from trioraft.rpc.interceptors.rates import limit_concurrency, limit_rate
from trioraft.rpc.interceptors.tokens import authenticate, static_tokens
from trioraft.rpc.interceptors.traces import trace_channel, trace_server
from trioraft.rpc.testing import open_test_channel

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "rpc" / "greeter"))

from greeter_pb2 import Greeting, Hello
from greeter_trio import GreeterBase, GreeterStub

_WARM_UP = 15
REPLY = Greeting(text="x" * 64)
THREE = {"x-request-id": "8a6b0c5e", "x-tenant": "acme", "x-user": "ada"}
TOKEN = {"authorization": "Bearer 5f2b8a6b0c5e4d3c"}


class Greeter(GreeterBase):
    async def Greet(self, request: Hello) -> Greeting:
        return REPLY


@dataclass
class Contestant:
    """A server and a channel, and the options of each call."""

    name: str
    server: list[Any] = field(default_factory=list)
    client: list[Any] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def empty(call: object) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def watching(call: Any) -> AsyncIterator[None]:
    call.on_receive(lambda message: None)
    call.on_send(lambda message: None)
    yield


class Empty:
    """As `empty`, without a generator."""

    def __init__(self, call: object) -> None:
        pass

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *details: object) -> None:
        pass


def logger(level: int) -> logging.Logger:
    made = logging.getLogger(f"bench.{level}")
    made.propagate = False
    made.setLevel(level)
    made.addHandler(logging.NullHandler())
    return made


def contestants() -> Iterator[Contestant]:
    yield Contestant("nothing")
    yield Contestant("nothing, again")
    yield Contestant("three pairs of metadata", options={"metadata": THREE})
    yield Contestant("a deadline", options={"timeout": 60})
    yield Contestant("server: one empty interceptor", [empty])
    yield Contestant("server: one empty class", [Empty])
    yield Contestant("server: three", [empty] * 3)
    yield Contestant("server: one with hooks both ways", [watching])
    yield Contestant("client: one empty interceptor", [], [empty])
    yield Contestant("client: three", [], [empty] * 3)
    yield Contestant("server: log, records made", [log_calls(logger(logging.INFO))])
    yield Contestant("server: log, level off", [log_calls(logger(logging.ERROR))])
    verify = static_tokens({TOKEN["authorization"].partition(" ")[2]: "ada"})
    yield Contestant("server: a token", [authenticate(verify)], options={"metadata": TOKEN})
    yield Contestant("server: rate limit", [limit_rate(1e9)])
    yield Contestant("server: concurrency limit", [limit_concurrency(1000)])
    spans = TracerProvider()
    yield Contestant("server: trace, SDK", [trace_server(provider=spans)])
    yield Contestant("client: trace, SDK", [], [trace_channel(provider=spans)])
    yield Contestant("server: trace, API alone", [trace_server(provider=NoOpTracerProvider())])
    meters = MeterProvider([InMemoryMetricReader()])
    yield Contestant("server: metrics, SDK", [measure_server(provider=meters)])
    yield Contestant("client: metrics, SDK", [], [measure_channel(provider=meters)])
    registry = CollectorRegistry()
    yield Contestant("server: Prometheus", [count_server(registry=registry)])
    yield Contestant("client: Prometheus", [], [count_channel(registry=registry)])


async def measure(calls: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per call by contestant, one figure per round."""
    times: dict[str, list[float]] = {}
    request = Hello(name="x" * 64)
    async with AsyncExitStack() as stack:
        runs: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []
        for one in contestants():
            opened = open_test_channel(
                [Greeter()], interceptors=one.server, client_interceptors=one.client
            )
            stub = GreeterStub(await stack.enter_async_context(opened))
            runs.append((one.name, stub.Greet, one.options))
        for _ in range(rounds):
            for name, greet, options in runs:
                for _ in range(_WARM_UP):  # the interpreter gets used to the types of this one
                    await greet(request, **options)
                started = time.process_time()
                for _ in range(calls):
                    await greet(request, **options)
                spent = (time.process_time() - started) / calls
                times.setdefault(name, []).append(spent)
    return times


def least(found: list[float]) -> float:
    """The mean of the best tenth."""
    return statistics.mean(sorted(found)[: max(1, len(found) // 10)])


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of each feature per unary call.")
    parser.add_argument("--calls", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=150)
    arguments = parser.parse_args()
    times = trio.run(measure, arguments.calls, arguments.rounds)
    base = least(next(iter(times.values())))
    print(f"{'feature':34}  {'us':>7}  {'more us':>7}")
    for name, found in times.items():
        mine = least(found)
        print(f"{name:34}  {mine * 1e6:7.1f}  {(mine - base) * 1e6:7.1f}")


if __name__ == "__main__":
    main()
