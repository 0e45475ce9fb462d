"""One node of bench/engine.py. It carries out the orders on its standard input, one per line:

    load COUNT PROPOSERS    propose so many entries, so many at a time (this node must lead)
    wait COUNT              until so many entries have been applied here
    stats                   CPU seconds, memory at its peak and now, MiB

and answers each with a line of JSON. The state machine does nothing, so the engine alone is
measured. The node `n1` is eager to lead and the others are not, so it does.

    python _engine_node.py ID PEERS DATA
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import trio

import trioraft
from trioraft.machines.counter import CounterMachine
from trioraft.node import Command, RuntimeSettings
from trioraft.raft.config import RaftConfig

ENTRY_BYTES = 64

#: No snapshot while we measure the log.
SETTINGS = RuntimeSettings(snapshot_after_entries=1 << 40, snapshot_after_bytes=1 << 60)


class NullMachine(CounterMachine):
    """Counts the commands and answers nothing."""

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.value += len(commands)
        return [b""] * len(commands)


async def load(node: trioraft.Node, count: int, proposers: int) -> dict[str, float]:
    left = count
    latencies: list[float] = []
    data = bytes(ENTRY_BYTES)

    async def propose() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            started = time.perf_counter()
            await node.propose(data, forward=False)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(proposers):
            nursery.start_soon(propose)
    seconds = time.perf_counter() - started
    cuts = statistics.quantiles(latencies, n=100)
    return {"seconds": seconds, "p50": cuts[49], "p99": cuts[98]}


async def wait(machine: NullMachine, count: int) -> dict[str, float]:
    """Seconds since the first entry was seen here, by looking every few milliseconds."""
    while not machine.value:
        await trio.sleep(0.001)
    before, started = machine.value, time.perf_counter()
    while machine.value < count:
        await trio.sleep(0.005)
    return {"seconds": time.perf_counter() - started, "entries": machine.value - before}


def stats() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu": used.ru_utime + used.ru_stime,
        "memory": used.ru_maxrss / 1024,
        "resident": pages * resource.getpagesize() / 2**20,
    }


async def obey(node: trioraft.Node, machine: NullMachine, order: str) -> dict[str, float]:
    match order.split():
        case ["load", count, proposers]:
            await node.wait_role(trioraft.Role.LEADER)
            return await load(node, int(count), int(proposers))
        case ["wait", count]:
            return await wait(machine, int(count))
        case ["stats"]:
            return stats()
    raise ValueError(f"no such order: {order!r}")


async def main(node_id: str, peers: str, data: str) -> None:
    eager = node_id == "n1"
    config = RaftConfig(
        election_timeout_min=0.5 if eager else 10.0, election_timeout_max=1.0 if eager else 20.0
    )
    machine = NullMachine()
    async with trioraft.open_node(
        id=node_id, peers=peers, machine=machine, data=data, config=config, settings=SETTINGS
    ) as node:
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        print(json.dumps({"ready": time.monotonic()}), flush=True)
        buffered = b""
        orders = trio.lowlevel.FdStream(sys.stdin.fileno())
        while received := await orders.receive_some():
            *lines, buffered = (buffered + received).split(b"\n")
            for line in lines:
                print(json.dumps(await obey(node, machine, line.decode())), flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
