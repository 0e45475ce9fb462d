"""What a process of the soak holds, and its conversation with the one that watches it.

A child prints a JSON object per line: its vitals, every second and when asked to rest. It reads
words from its standard input: `go` (begin the load), `rest` (end it, tidy up, report), `quit`.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio


def vitals() -> dict[str, int]:
    """Living tasks, open files, resident KiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "files": len(os.listdir("/proc/self/fd")),
        "memory": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


def tidy() -> None:
    """Give back what is garbage, so that what remains is what is held."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def report(**fields: object) -> None:
    """Print one line for the watcher."""
    print(json.dumps(fields), flush=True)


async def converse(load: Callable[[], Awaitable[None]], counts: Counter[str]) -> None:
    """Run `load` between `go` and `rest`, and report, until told to quit."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_beat, counts)
        scope = trio.CancelScope()

        async def loaded() -> None:
            with scope:
                await load()

        running = trio.Event()
        while True:
            word = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
            word = word.strip()
            if word == "go":
                scope, running = trio.CancelScope(), trio.Event()

                async def run(done: trio.Event = running) -> None:
                    await loaded()
                    done.set()

                nursery.start_soon(run)
            elif word == "rest":
                scope.cancel()
                await running.wait()
                await trio.sleep(1.0)
                tidy()
                report(rest=True, **vitals(), counts=dict(counts))
            else:
                break
        nursery.cancel_scope.cancel()


async def _beat(counts: Counter[str]) -> None:
    while True:
        await trio.sleep(1.0)
        report(rest=False, **vitals(), counts=dict(counts))
