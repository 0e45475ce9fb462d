"""One PySyncObj node of bench/engine.py; obeys the orders `load` and `stats` of `_engine_node.py`.

With a journal, which PySyncObj maps into memory and does not sync before it acknowledges: what
a power cut would lose is up to the kernel. Its clients are calls in the leader's process, too.

    python _pysyncobj_node.py ID PEERS DATA batch|single

`batch` is its default and waits for its clock, which ticks every 50 ms; `single` is its setting
appendEntriesUseBatch=False, which its documentation recommends for the speed of one request.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

ENTRY_BYTES = 64


class Null(SyncObj):  # type: ignore[misc]
    """Counts the commands."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.value = 0

    @replicated  # type: ignore[untyped-decorator]
    def put(self, data: bytes) -> None:
        self.value += 1


def load(node: Null, count: int, at_once: int) -> dict[str, float]:
    """Keep so many calls under way; each answer starts the next one."""
    latencies: list[float] = []
    data = bytes(ENTRY_BYTES)
    begun = 0
    failed = 0
    lock = threading.Lock()
    finished = threading.Event()

    def propose() -> None:
        nonlocal begun
        with lock:
            if begun == count:
                return
            begun += 1
        started = time.perf_counter()

        def answered(_result: Any, error: int) -> None:
            nonlocal failed
            failed += error != 0
            latencies.append(time.perf_counter() - started)
            if len(latencies) == count:
                finished.set()
            propose()

        node.put(data, callback=answered)

    started = time.perf_counter()
    for _ in range(min(at_once, count)):
        propose()
    finished.wait()
    seconds = time.perf_counter() - started
    if failed:
        raise RuntimeError(f"{failed} of {count} calls failed")
    cuts = statistics.quantiles(latencies, n=100)
    return {"seconds": seconds, "p50": cuts[49], "p99": cuts[98]}


def main(node_id: str, peers: str, data: str, mode: str) -> None:
    addresses = dict(peer.split("=") for peer in peers.split(","))
    mine = addresses.pop(node_id)
    eager = node_id == "n1"
    Path(data).mkdir(parents=True)
    config = SyncObjConf(
        journalFile=f"{data}/journal",
        raftMinTimeout=0.4 if eager else 10.0,
        raftMaxTimeout=1.4 if eager else 20.0,
        connectionTimeout=30.0,
        connectionRetryTime=0.5,
        appendEntriesUseBatch=mode == "batch",
        logCompactionMinEntries=1 << 40,
        logCompactionMinTime=1 << 30,
    )
    node = Null(mine, list(addresses.values()), config)
    print(json.dumps({"ready": time.monotonic()}), flush=True)
    for line in sys.stdin:
        match line.split():
            case ["load", count, at_once]:
                while node._getLeader() is None or not node._isReady():
                    time.sleep(0.05)
                answer = load(node, int(count), int(at_once))
            case _:
                used = resource.getrusage(resource.RUSAGE_SELF)
                answer = {
                    "cpu": used.ru_utime + used.ru_stime,
                    "memory": used.ru_maxrss / 1024,
                }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
