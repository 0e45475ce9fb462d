"""What a call costs with code of either generator: same server, same connection, one process.

    python bench/rpc_codegen.py [--calls 500] [--rounds 30]

Four pairs of stub and handler (grpclib's or ours) make unary calls one after the other over an
in-memory connection, and take a stream of ten times as many replies, in turns, round after round.
The table has the least time per call or reply of each, and the median over the rounds of its
ratio to grpclib's own pair in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from trioraft.rpc import Channel
from trioraft.rpc.testing import open_test_channel

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "rpc" / "greeter"))

import greeter_grpc
import greeter_trio
from greeter_pb2 import Greeting, Hello

REPLY = Greeting(text="x" * 64)

#: Makes that many calls, or takes that many replies.
Run = Callable[[int], Awaitable[None]]


class ByGrpclib(greeter_grpc.GreeterBase):
    async def Greet(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(REPLY)

    async def GreetInAll(self, stream: Any) -> None:
        request = await stream.recv_message()
        for _ in range(int(request.name)):
            await stream.send_message(REPLY)


class ByTrioraft(greeter_trio.GreeterBase):
    async def Greet(self, request: Hello) -> Greeting:
        return REPLY

    async def GreetInAll(self, request: Hello, replies: trio.abc.SendChannel[Greeting]) -> None:
        for _ in range(int(request.name)):
            await replies.send(REPLY)


def unary(stub: Any) -> Run:
    async def run(count: int) -> None:
        request = Hello(name="x" * 64)
        for _ in range(count):
            await stub.Greet(request)

    return run


def stream_by_grpclib(stub: Any) -> Run:
    async def run(count: int) -> None:
        async with stub.GreetInAll.open() as stream:
            await stream.send_message(Hello(name=str(count)), end=True)
            async for _ in stream:
                pass

    return run


def stream_by_trioraft(stub: greeter_trio.GreeterStub) -> Run:
    async def run(count: int) -> None:
        async with stub.GreetInAll(Hello(name=str(count))) as replies:
            async for _ in replies:
                pass

    return run


def runs(channels: dict[str, Channel]) -> Iterator[tuple[str, str, Run]]:
    """Kind, name of the pair, and what it does; grpclib's own pair is the first of its kind."""
    for kind in ("unary", "stream"):
        for stub in ("grpclib", "trioraft"):
            for handler, channel in channels.items():
                if stub == "grpclib":
                    made: Any = greeter_grpc.GreeterStub(channel)
                    run = unary(made) if kind == "unary" else stream_by_grpclib(made)
                else:
                    made = greeter_trio.GreeterStub(channel)
                    run = unary(made) if kind == "unary" else stream_by_trioraft(made)
                yield kind, f"{stub:8}  {handler:8}", run


async def measure(calls: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds per call or reply, by kind and pair, one figure per round."""
    times: dict[str, dict[str, list[float]]] = {"unary": {}, "stream": {}}
    async with (
        open_test_channel([ByGrpclib()]) as one,
        open_test_channel([ByTrioraft()]) as other,
    ):
        every = list(runs({"grpclib": one, "trioraft": other}))
        for number in range(rounds + 1):
            for kind, name, run in every:
                count = calls if kind == "unary" else 10 * calls
                started = time.perf_counter()
                await run(count)
                spent = (time.perf_counter() - started) / count
                if number:  # the first round warms up
                    times[kind].setdefault(name, []).append(spent)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of generated code per unary call.")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    times = trio.run(measure, arguments.calls, arguments.rounds)
    print("kind    stub      handler         us  ratio")
    for kind, pairs in times.items():
        base = next(iter(pairs.values()))
        for name, found in pairs.items():
            ratio = statistics.median([a / b for a, b in zip(found, base, strict=True)])
            print(f"{kind:6}  {name}  {min(found) * 1e6:8.2f}  {ratio:5.3f}")


if __name__ == "__main__":
    main()
