"""What a call costs with code of either generator: same server, same connection, one process.

    python bench/rpc_codegen.py [--calls 3000] [--rounds 15]

Four pairs of stub and handler (grpclib's or ours) make unary calls one after the other over an
in-memory connection, in turns, round after round; the table has the least time per call of each,
and the median over the rounds of its ratio to grpclib's own pair in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from trioraft.rpc import Service
from trioraft.rpc.testing import open_test_channel

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "rpc" / "greeter"))

import greeter_grpc
import greeter_trio
from greeter_pb2 import Greeting, Hello

Call = Callable[[Hello], Awaitable[Greeting]]


class ByGrpclib(greeter_grpc.GreeterBase):
    async def Greet(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(Greeting(text=request.name))

    async def GreetInAll(self, stream: Any) -> None:
        raise AssertionError("not called")


class ByTrioraft(greeter_trio.GreeterBase):
    async def Greet(self, request: Hello) -> Greeting:
        return Greeting(text=request.name)


async def seconds_per_call(call: Call, calls: int) -> float:
    request = Hello(name="x" * 64)
    started = time.perf_counter()
    for _ in range(calls):
        await call(request)
    return (time.perf_counter() - started) / calls


async def measure(calls: int, rounds: int) -> dict[str, list[float]]:
    services: dict[str, Service] = {"grpclib": ByGrpclib(), "trioraft": ByTrioraft()}
    stubs: dict[str, Any] = {
        "grpclib": greeter_grpc.GreeterStub,
        "trioraft": greeter_trio.GreeterStub,
    }
    times: dict[str, list[float]] = {}
    async with (
        open_test_channel([services["grpclib"]]) as one,
        open_test_channel([services["trioraft"]]) as other,
    ):
        channels = {"grpclib": one, "trioraft": other}
        pairs = {
            f"{stub:8} {handler:8}": stubs[stub](channels[handler]).Greet
            for stub in stubs
            for handler in services
        }
        for number in range(rounds + 1):
            for name, call in pairs.items():
                spent = await seconds_per_call(call, calls if number else calls // 10)
                if number:  # the first round warms up
                    times.setdefault(name, []).append(spent)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of generated code per unary call.")
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    times = trio.run(measure, arguments.calls, arguments.rounds)
    base = next(iter(times.values()))
    print("stub     handler     us/call   ratio")
    for name, found in times.items():
        ratio = statistics.median([a / b for a, b in zip(found, base, strict=True)])
        print(f"{name}  {min(found) * 1e6:8.1f}  {ratio:6.3f}")


if __name__ == "__main__":
    main()
