"""The log alone: is its memory flat, its cost flat, its restart quick?

    python bench/storage.py [--quick] [--entries N] [--bytes N] [--svg FILE] [--json FILE]

One group, no network: the core's log with its cache over `FileStorage` on real files, entries
of 64 bytes in batches of 1000, once with a snapshot and compaction every 500,000 entries and
once with a log that is only ever appended to. Beside it: encoding and decoding alone, appends
and reads at every size of the log, restart, and what idle groups hold. `--fsync always` is the
default of a node; here the default is `never`, because how fast the disk syncs is not the
question (bench/engine.py and bench/kv.py ask it).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import trio
from _plot import Points, write_charts
from _storage_log import grow, make, opened, rss
from rich.console import Console
from rich.table import Table

from trioraft.storage import (
    DataDirectory,
    PersistBatch,
    open_disk_writer,
)
from trioraft.storage.log.entries import decode_run, encode_entries


def codec(data: bytes) -> dict[str, float]:
    """Entries per CPU second, encoded and decoded, in batches as large as a read of 1 MiB."""
    entries = make(0, 8000, data)
    best: dict[str, float] = {"encode": 0.0, "decode": 0.0}
    for _ in range(15):
        parts: list[bytes] = []
        start = time.process_time()
        encode_entries(entries, 7, 0, parts, [], 0)
        whole = b"".join(parts)
        middle = time.process_time()
        found, _ = decode_run(whole, 0, 0, 7, 0, len(entries))
        end = time.process_time()
        assert len(found) == len(entries)
        best["encode"] = max(best["encode"], len(entries) / (middle - start))
        best["decode"] = max(best["decode"], len(entries) / (end - middle))
    return best


async def restart(path: Path, fsync: str) -> dict[str, float]:
    """Seconds to open what `grow` left, and entries per CPU second read back, by 1 MiB."""
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="bench")
        start, cpu = time.perf_counter(), time.process_time()
        storage = await opened(directory, writer, fsync)
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        found = storage.recovered
        low = first = found.base_index + 1
        start = time.process_time()
        while low <= min(found.last_index, first + 500_000):
            low = (await storage.read(low, found.last_index + 1, 1 << 20))[-1].index + 1
        rate = (low - first) / (time.process_time() - start)
        await storage.aclose()
        directory.close()
    return {
        "entries": float(found.last_index - found.base_index),
        "open": took,
        "open_cpu": cpu,
        "read": rate,
    }


def disk_use(path: Path) -> int:
    """Bytes that the files under `path` take, an inode's 256 bytes not counted."""
    return sum(file.stat().st_blocks * 512 for file in path.rglob("*") if file.is_file())


async def idle(path: Path, groups: int) -> dict[str, float]:
    """What groups hold that have been opened and written to once."""
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="bench")
        before, files = rss(), len(os.listdir("/proc/self/fd"))
        opened_groups = []
        for number in range(groups):
            storage = await directory.open_group(b"%d" % number, writer)
            done = trio.Event()
            storage.persist(PersistBatch(None, make(0, 1, b"x")), lambda _, done=done: done.set())
            await done.wait()
            opened_groups.append(storage)
        used = disk_use(path)
        held = {
            "groups": float(groups),
            "open_files": float(len(os.listdir("/proc/self/fd")) - files),
            "memory_kib": (rss() - before) * 1024 / groups,
            "disk_kib": used / groups / 1024,
        }
        for storage in opened_groups:
            await storage.aclose()
        directory.close()
    return held


def show(results: dict[str, Any], console: Console) -> None:
    for name in ("compacted", "append only"):
        table = Table(title=f"the log grows, {name}")
        for heading in (
            "entries",
            "RSS, MiB",
            "entries/s",
            "append, µs",
            "read 1, µs",
            "read 1000",
        ):
            table.add_column(heading, justify="right")
        for row in results[name]:
            table.add_row(
                f"{row['entries']:,.0f}",
                f"{row['rss']:.0f}",
                f"{row['rate']:,.0f}",
                *(f"{row[key]:,.0f}" for key in ("append", "read_1", "read_1000")),
            )
        console.print(table)
    for name in ("codec", "restart", "restart compacted", "idle"):
        console.print(name, {key: round(value, 2) for key, value in results[name].items()})


def lines(results: dict[str, Any], key: str) -> dict[str, Points]:
    return {
        name: [(row["entries"], row[key]) for row in results[name]]
        for name in ("compacted", "append only")
    }


@click.command()
@click.option("--entries", default=10_000_000, show_default=True)
@click.option("--bytes", "size", default=64, show_default=True, help="Of each entry's data.")
@click.option("--groups", default=1000, show_default=True)
@click.option("--fsync", default="never", show_default=True)
@click.option("--quick", is_flag=True, help="100,000 entries and 100 groups.")
@click.option("--svg", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    entries: int,
    size: int,
    groups: int,
    fsync: str,
    quick: bool,
    svg: Path | None,
    json_file: Path | None,
) -> None:
    """Measure the log."""
    if quick:
        entries, groups = 100_000, 100
    console = Console()
    data = bytes(size)
    root = Path(tempfile.mkdtemp(prefix="trioraft-bench-"))
    try:
        results: dict[str, Any] = {"codec": codec(data)}
        for name, compacting in (("compacted", True), ("append only", False)):
            path = root / name
            results[name] = trio.run(grow, path, entries, data, compacting, fsync, console)
            restarted = "restart compacted" if compacting else "restart"
            results[restarted] = trio.run(restart, path, fsync)
        results["idle"] = trio.run(idle, root / "idle", groups)
    finally:
        shutil.rmtree(root)
    show(results, console)
    if svg is not None:
        charts = {
            "resident memory, MiB": lines(results, "rss"),
            "one append until it is answered, µs of CPU": lines(results, "append"),
            "reading one entry, µs of CPU": lines(results, "read_1"),
            "reading 1000 entries, µs of CPU": lines(results, "read_1000"),
        }
        write_charts(svg, f"The log, entries of {size} bytes", "entries so far", charts)
    if json_file is not None:
        json_file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
