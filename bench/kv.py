"""Durable three-node key-value stores on one machine: trioraft against etcd, in one run.

    python bench/kv.py [--quick] [--rounds N] [--wire ratis|openraft|both] [--json FILE]

Each node is a process of its own, and so is the load generator, which is the same for all.
PySyncObj has no server to send a put to: it is compared in process, by bench/engine.py.
Contestants take turns (A B A B ...), each time as a new cluster, and medians are compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import trio
from _kv_clusters import GET_ETCD, Running, etcd_cluster, has_etcd, trioraft_cluster
from _report import Scenario, alternate, show, write_json
from rich.console import Console

LOAD = Path(__file__).with_name("_kv_load.py")
BASELINE = "etcd"
CLIENTS = 64
CONNECTIONS = 4
CROWD = 1000
CROWD_CONNECTIONS = 16


@dataclass(frozen=True)
class Sizes:
    """How many calls of each kind."""

    warm_up: int
    puts: int
    single: int
    gets: int


FULL = Sizes(warm_up=10_000, puts=30_000, single=500, gets=20_000)
QUICK = Sizes(warm_up=2000, puts=4_000, single=150, gets=4_000)


class Marks:
    """What is measured."""

    def __init__(self) -> None:
        def lower(name: str, unit: str) -> Scenario:
            return Scenario(name, unit, BASELINE, higher_is_better=False)

        clients, crowd = f"{CLIENTS} clients", f"{CROWD} clients"
        self.puts = Scenario(f"durable puts, 256 B, {clients}", "puts/s", BASELINE)
        self.p50 = lower(f"put p50, {clients}", "ms")
        self.p99 = lower(f"put p99, {clients}", "ms")
        self.single = lower("put p50, 1 client", "ms")
        self.gets = Scenario(f"linearizable gets, {clients}", "gets/s", BASELINE)
        self.crowd = Scenario(f"durable puts, 256 B, {crowd}", "puts/s", BASELINE)
        self.crowd_p50 = lower(f"put p50, {crowd}", "ms")
        self.crowd_p99 = lower(f"put p99, {crowd}", "ms")
        self.cpu = lower("CPU per put, 3 nodes", "us")
        self.get_cpu = lower("CPU per get, 3 nodes", "us")
        self.memory = lower("peak memory, 3 nodes", "MiB")
        self.generator = lower("CPU per put, load generator", "us")

    def all(self) -> list[Scenario]:
        return list(vars(self).values())


async def load(
    work: str, target: str, count: int, clients: int, name: str, *, among: int = 10_000
) -> dict[str, float]:
    """Run the generator, over so many keys; its numbers. Raises RuntimeError if a call failed."""
    connections = CROWD_CONNECTIONS if clients == CROWD else min(CONNECTIONS, clients)
    arguments = [work, target, str(count), str(clients), str(connections), name, str(among)]
    done = await trio.run_process(
        [sys.executable, str(LOAD), *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode()}")
    result: dict[str, float] = json.loads(done.stdout)
    if result["failures"]:
        said = done.stderr.decode().partition("\n")[0]
        raise RuntimeError(f"{result['failures']:.0f} of {count} calls failed: {said}")
    return result


async def measure(
    contestant: str, cluster: AbstractAsyncContextManager[Running], sizes: Sizes, marks: Marks
) -> None:
    """One turn of one contestant, on a new cluster."""
    async with cluster as running:
        target = running.leader
        await load("put", target, sizes.warm_up, CLIENTS, "warm")
        before = running.cpu_seconds()
        puts = await load("put", target, sizes.puts, CLIENTS, "load")
        cpu = running.cpu_seconds() - before
        single = await load("put", target, sizes.single, 1, "single")
        before = running.cpu_seconds()
        gets = await load("get", target, sizes.gets, CLIENTS, "load")
        get_cpu = running.cpu_seconds() - before
        crowd = await load("put", target, sizes.puts, CROWD, "crowd")
        marks.puts.add(contestant, sizes.puts / puts["seconds"])
        marks.p50.add(contestant, puts["p50"] * 1e3)
        marks.p99.add(contestant, puts["p99"] * 1e3)
        marks.single.add(contestant, single["p50"] * 1e3)
        marks.gets.add(contestant, sizes.gets / gets["seconds"])
        marks.crowd.add(contestant, sizes.puts / crowd["seconds"])
        marks.crowd_p50.add(contestant, crowd["p50"] * 1e3)
        marks.crowd_p99.add(contestant, crowd["p99"] * 1e3)
        marks.cpu.add(contestant, cpu / sizes.puts * 1e6)
        marks.get_cpu.add(contestant, get_cpu / sizes.gets * 1e6)
        marks.memory.add(contestant, running.peak_memory())
        marks.generator.add(contestant, puts["cpu"] / sizes.puts * 1e6)


@click.command()
@click.option("--quick", is_flag=True, help="A fifth of the calls, one round.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each contestant.")
@click.option(
    "--wire",
    type=click.Choice(["ratis", "openraft", "both"]),
    default="ratis",
    show_default=True,
    help="Protocol between trioraft's nodes.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Disk to measure on (a directory).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(quick: bool, rounds: int, wire: str, data: Path | None, json_path: Path | None) -> None:
    """Compare three-node clusters with durable data on this machine."""
    console = Console()
    wires = ["ratis", "openraft"] if wire == "both" else [wire]
    contestants = [f"trioraft {name}" for name in wires]
    if has_etcd():
        contestants.append(BASELINE)
    else:
        console.print(GET_ETCD)
    sizes = QUICK if quick else FULL
    marks = Marks()
    with tempfile.TemporaryDirectory(prefix="trioraft-bench-", dir=data) as scratch:
        turns = iter(range(1_000_000))

        def run(contestant: str) -> None:
            root = Path(scratch) / f"turn{next(turns)}"
            if contestant == BASELINE:
                cluster = etcd_cluster(root)
            else:
                cluster = trioraft_cluster(root, contestant.split()[1])
            trio.run(partial(measure, contestant, cluster, sizes, marks))

        alternate(contestants, 1 if quick else rounds, run, console)
    title = "Three durable nodes on one machine, load on the leader"
    show(title, marks.all(), console)
    if json_path is not None:
        notes = {
            "clients": [CLIENTS, 1, CROWD],
            "connections": [CONNECTIONS, 1, CROWD_CONNECTIONS],
            "value bytes": 256,
        }
        write_json(json_path, title, marks.all(), notes)


if __name__ == "__main__":
    main()
