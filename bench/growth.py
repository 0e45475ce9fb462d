"""Does an operation cost the same when there is much already? Keys to 10^6, entries to 10^7.

    python bench/growth.py [--quick] [--keys N] [--entries N] [--svg FILE] [--json FILE]

Keys: a cluster of three `trioraft node`, 64 clients; puts of new keys until there are so many,
then at each size puts of keys that exist, and gets. Entries: the embedded engine of
bench/engine.py with a machine that keeps nothing and a log that is never cut. What counts is CPU
time per operation, as the clock on the wall tells of other programs, too; memory beside it.
Each figure is the best of several turns: other programs on the machine only ever add to it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import trio
from _kv_clusters import Running, trioraft_cluster
from _plot import write_charts
from engine import US, Process, cluster
from kv import CLIENTS, load
from rich.console import Console
from rich.table import Table

Rows = list[dict[str, float]]

#: Samples at each size, of which the best counts, and operations in each.
TURNS = 8
SAMPLE = 2500


def sizes_to(most: int) -> list[int]:
    """1, 3, 10, 30... times a thousand up to `most`."""
    found, size = [], 10_000
    while size < most:
        found += [size, 3 * size]
        size *= 10
    return [size for size in found if size < most] + [most]


async def grow_keys(root: Path, most: int, console: Console) -> Rows:
    rows: Rows = []
    async with trioraft_cluster(root, "ratis") as running:
        have = 0
        for size in sizes_to(most):
            chunk = 0
            while have < size:
                count = min(size - have, 50_000)
                await load("put", running.leader, count, CLIENTS, f"grow{have}", among=count)
                have, chunk = have + count, count
            name = f"grow{have - chunk}"
            rows.append(await _sample(running, size, name, chunk))
            console.print(f"[dim]{size:,} keys: {_words(rows[-1])}[/dim]")
    return rows


async def _sample(running: Running, size: int, name: str, among: int) -> dict[str, float]:
    row: dict[str, float] = {"size": size}
    for work in ("put", "get"):
        turns: Rows = []
        for _ in range(TURNS):
            before = running.cpu_seconds()
            found = await load(work, running.leader, SAMPLE, CLIENTS, name, among=among)
            turns.append(
                {
                    f"{work} CPU": (running.cpu_seconds() - before) / SAMPLE * 1e6,
                    f"{work} p50": found["p50"] * 1e3,
                    f"{work}s/s": SAMPLE / found["seconds"],
                }
            )
        row |= _best(turns)
    row["memory"] = running.memory()
    return row


def grow_log(root: Path, most: int, console: Console) -> Rows:
    rows: Rows = []
    with cluster(US, root) as start:
        leader, *_ = nodes = [start(name) for name in ("n1", "n2", "n3")]
        for node in nodes:
            node.wait_ready()
        have = 0
        for size in sizes_to(most):
            turns = max(1, min(TURNS, (size - have) // (2 * SAMPLE)))
            while have < size - turns * SAMPLE:
                count = min(size - turns * SAMPLE - have, 50_000)
                leader.ask(f"load {count} 1024")
                have += count
            row = {
                "size": size,
                **_best([_load(nodes, size - left * SAMPLE) for left in reversed(range(turns))]),
                "memory": sum(node.ask("stats")["resident"] for node in nodes),
            }
            have = size
            rows.append(row)
            console.print(f"[dim]{size:,} entries: {_words(row)}[/dim]")
    return rows


def _load(nodes: Sequence[Process], upto: int) -> dict[str, float]:
    """Propose until the log has `upto` entries and every node has them."""
    leader, *others = nodes
    before = sum(node.ask("stats")["cpu"] for node in nodes)
    found = leader.ask(f"load {SAMPLE} 1024")
    for node in others:
        node.ask(f"wait {upto}")
    return {
        "entry CPU": (sum(node.ask("stats")["cpu"] for node in nodes) - before) / SAMPLE * 1e6,
        "entry p50": found["p50"] * 1e3,
        "entries/s": SAMPLE / found["seconds"],
    }


def _best(turns: Rows) -> dict[str, float]:
    """The most of what is a rate, the least of everything else."""
    return {
        name: (max if name.endswith("/s") else min)(turn[name] for turn in turns)
        for name in turns[0]
    }


def _words(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.4g}" for name, value in row.items() if name != "size")


def show(title: str, rows: Rows, console: Console) -> None:
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in row.values()))
    console.print(table)


def points(rows: Rows, name: str) -> list[tuple[float, float]]:
    return [(row["size"], row[name]) for row in rows]


@click.command()
@click.option("--quick", is_flag=True, help="Keys to 30,000 and entries to 100,000.")
@click.option("--keys", type=int, help="Most keys; by default a million.")
@click.option("--entries", type=int, help="Most entries; by default ten million (1 GB per node).")
@click.option("--data", type=click.Path(path_type=Path), help="Disk to measure on (a directory).")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the curves there.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(
    quick: bool,
    keys: int | None,
    entries: int | None,
    data: Path | None,
    svg: Path | None,
    json_path: Path | None,
) -> None:
    """Measure the cost of an operation as the store and the log grow."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="trioraft-bench-", dir=data) as root:
        most = keys or (30_000 if quick else 1_000_000)
        by_keys = trio.run(grow_keys, Path(root) / "keys", most, console)
    with tempfile.TemporaryDirectory(prefix="trioraft-bench-", dir=data) as root:
        most = entries or (100_000 if quick else 10_000_000)
        by_log = grow_log(Path(root), most, console)
    show("Three nodes; times in ms, CPU of all nodes in µs, memory in MiB", by_keys, console)
    show("Embedded engine, 64 B entries", by_log, console)
    if svg is not None:
        charts = {
            "CPU of all nodes per operation, µs": {
                name: points(by_keys, f"{name} CPU") for name in ("put", "get")
            },
            "memory of all nodes, MiB": {"key-value nodes": points(by_keys, "memory")},
        }
        write_charts(svg, "Cost as the number of keys grows", "keys", charts)
        log_charts = {
            "CPU of all nodes per entry, µs": {"entry": points(by_log, "entry CPU")},
            "memory of all nodes, MiB": {"nodes": points(by_log, "memory")},
        }
        other = svg.with_stem(f"{svg.stem}-log")
        write_charts(other, "Cost as the log grows", "entries", log_charts)
        console.print(f"drawn: {svg} and {other}")
    if json_path is not None:
        json_path.write_text(json.dumps({"keys": by_keys, "log": by_log}, indent=2) + "\n")


if __name__ == "__main__":
    main()
