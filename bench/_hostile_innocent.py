"""The innocent client of `hostile.py`: calls all the time, and says how long that took.

python _hostile_innocent.py PORT     for each line "SECONDS" of input, prints p50, p99 and the
                                     longest call in seconds, numbers of calls and failures
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rpc" / "_gen"))

import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest

from trioraft.rpc import GRPCError, open_channel

_REQUEST = EchoRequest(payload=b"x" * 64)
_PAUSE = 0.001


async def measure(stub: EchoStub, seconds: float) -> str:
    """Call for so long, one call after the other."""
    times = []
    failures = 0
    end = trio.current_time() + seconds
    while (start := trio.current_time()) < end:
        try:
            await stub.Unary(_REQUEST, timeout=10.0)
        except GRPCError:
            failures += 1
        times.append(trio.current_time() - start)
        await trio.sleep(_PAUSE)
    times.sort()
    count = len(times)
    return f"{times[count // 2]} {times[count * 99 // 100]} {times[-1]} {count} {failures}"


async def main(port: int) -> None:
    """Measure whenever asked."""
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = EchoStub(channel)
        await measure(stub, 0.2)
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            print(await measure(stub, float(line)), flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
