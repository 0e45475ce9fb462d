"""The load generator of `kv.py`: a process of its own, the same for every contestant.

python _kv_load.py put|get TARGET COUNT CLIENTS CONNECTIONS NAME KEYS

Puts and gets go round and round over KEYS keys whose names begin with NAME.
Prints one line of JSON: seconds, p50 and p99 in seconds, CPU seconds of this process, failures.
Requests are encoded beforehand and replies not decoded, so that little of the machine is lost here.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import AsyncExitStack

import trio
from grpclib.client import UnaryUnaryMethod

from trioraft._proto.etcd.rpc_pb2 import PutRequest, RangeRequest
from trioraft.rpc import Channel, Encoded, GRPCError, open_channel

VALUE_BYTES = 256

PATHS = {"put": "/etcdserverpb.KV/Put", "get": "/etcdserverpb.KV/Range"}


def requests(work: str, name: str, count: int, among: int) -> list[Encoded]:
    """One encoded request per call."""
    keys = [f"{name}/{number % among:08d}".encode() for number in range(count)]
    if work == "get":
        return [Encoded(RangeRequest(key=key).SerializeToString()) for key in keys]
    value = b"v" * VALUE_BYTES
    return [Encoded(PutRequest(key=key, value=value).SerializeToString()) for key in keys]


async def generate(
    work: str, target: str, count: int, clients: int, connections: int, name: str, among: int
) -> dict[str, float]:
    """Make the calls, `clients` at a time over so many connections."""
    todo = iter(requests(work, name, count, among))
    latencies: list[float] = []
    failures = 0

    async def client(channel: Channel) -> None:
        nonlocal failures
        call = UnaryUnaryMethod(channel, PATHS[work], Encoded, Encoded)
        for request in todo:
            started = time.perf_counter()
            try:
                await call(request)
            except GRPCError as error:
                failures += 1
                print(error, file=sys.stderr)
            else:
                latencies.append(time.perf_counter() - started)

    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(open_channel(target)) for _ in range(connections)
        ]
        for channel in channels:
            await channel.connection()
        cpu, started = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(clients):
                nursery.start_soon(client, channels[number % connections])
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    cuts = statistics.quantiles(latencies, n=100)
    return {
        "seconds": seconds,
        "p50": cuts[49],
        "p99": cuts[98],
        "cpu": cpu,
        "failures": failures,
    }


if __name__ == "__main__":
    work, target, count, clients, connections, name, keys = sys.argv[1:]
    result = trio.run(
        generate, work, target, int(count), int(clients), int(connections), name, int(keys)
    )
    print(json.dumps(result))
