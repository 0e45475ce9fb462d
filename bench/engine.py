"""The engine embedded: durable proposals in process, catching up, starting again.

    python bench/engine.py [--quick] [--rounds N] [--json FILE]

Three processes on one machine, each with its own log on disk, synced before it counts. The
proposals are made in the leader's process; its two followers are real ones, over TCP. Then one
follower is started again far behind, and the other one with everything it needs.

PySyncObj, the other engine that a Python program can embed, makes the same proposals if it is
installed. Its journal is a memory map that is not synced before it acknowledges, so it does less.

See bench/kv.py for the key-value server, bench/groups.py for many groups.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from _report import Scenario, alternate, write_json
from rich.console import Console
from rich.table import Table

from trioraft.cli.demo.ports import free_addresses

NODE = Path(__file__).with_name("_engine_node.py")
PEER_NODE = Path(__file__).with_name("_pysyncobj_node.py")
US = "trioraft"
PEER = "PySyncObj (no sync)"
GET_PEER = (
    "PySyncObj is not installed, so there is nobody to compare with: `pip install pysyncobj`."
)
PROPOSERS = (1, 64, 1024)

#: What the project sets itself; compared with the median.
TARGETS = {"proposals, 1024 at once": 40_000.0, "catching up": 150_000.0, "restart": 10.0}


class Process:
    """A node that takes orders."""

    def __init__(self, contestant: str, name: str, peers: str, folder: Path) -> None:
        program = [str(NODE)] if contestant == US else [str(PEER_NODE)]
        command = [sys.executable, *program, name, peers, str(folder / name)]
        command += ["single"] if contestant == PEER else []
        self._started = time.monotonic()
        # PySyncObj complains all the time, of acknowledged entries that it takes back.
        errors = None if contestant == US else subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )

    def wait_ready(self) -> float:
        """Seconds from the start of the process until it serves."""
        return float(self._answer()["ready"] - self._started)

    def order(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def ask(self, order: str) -> dict[str, float]:
        self.order(order)
        return self._answer()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("a node ended by itself; what it said is above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Marks:
    """What is measured."""

    def __init__(self) -> None:
        self.rates = {n: Scenario(f"proposals, {n} at once", "1/s", PEER) for n in PROPOSERS}
        self.p50 = {n: _lower(f"p50, {n} at once", "ms") for n in PROPOSERS}
        self.p99 = {n: _lower(f"p99, {n} at once", "ms") for n in PROPOSERS}
        self.leader_cpu = _lower("leader's CPU per proposal, 1024 at once", "us")
        self.memory = _lower("leader's peak memory", "MiB")
        self.catch_up = Scenario("catching up", "entries/s", PEER)
        self.restart = _lower("restart", "s")

    def all(self) -> list[Scenario]:
        rows = [row for n in PROPOSERS for row in (self.rates[n], self.p50[n], self.p99[n])]
        return [*rows, self.leader_cpu, self.memory, self.catch_up, self.restart]


def _lower(name: str, unit: str) -> Scenario:
    return Scenario(name, unit, PEER, higher_is_better=False)


@contextmanager
def cluster(contestant: str, folder: Path) -> Iterator[Callable[[str], Process]]:
    """What starts the nodes `n1` to `n3`; they end with the block."""
    peers = ",".join(
        f"n{number}={address}" for number, address in enumerate(free_addresses(3), start=1)
    )
    with ExitStack() as stack:

        def start(name: str) -> Process:
            process = Process(contestant, name, peers, folder)
            stack.callback(process.kill)
            return process

        yield start


def measure(contestant: str, folder: Path, proposals: int, behind: int, marks: Marks) -> None:
    """One turn of one contestant, on a new cluster."""
    with cluster(contestant, folder) as start:
        nodes = [start(name) for name in ("n1", "n2", "n3")]
        for node in nodes:
            node.wait_ready()
        done = _proposals(contestant, nodes[0], proposals, marks)
        if contestant == US:
            _far_behind(start, nodes, done, behind, marks)


def _proposals(contestant: str, leader: Process, proposals: int, marks: Marks) -> int:
    done = _load(leader, 2000, 64)
    if contestant == PEER:
        proposals //= 10  # it would take minutes
    cpu = 0.0
    for at_once in PROPOSERS:
        count = proposals if at_once > 1 else max(proposals // 50, 200)
        before = leader.ask("stats")["cpu"]
        found = leader.ask(f"load {count} {at_once}")
        cpu = (leader.ask("stats")["cpu"] - before) / count
        done += count
        marks.rates[at_once].add(contestant, count / found["seconds"])
        marks.p50[at_once].add(contestant, found["p50"] * 1e3)
        marks.p99[at_once].add(contestant, found["p99"] * 1e3)
    marks.leader_cpu.add(contestant, cpu * 1e6)
    marks.memory.add(contestant, leader.ask("stats")["memory"])
    return done


def _far_behind(
    start: Callable[[str], Process], nodes: list[Process], done: int, behind: int, marks: Marks
) -> None:
    leader, second, third = nodes
    third.ask(f"wait {done}")
    third.kill()
    done += _load(leader, behind, 1024)
    third = start("n3")
    third.wait_ready()
    found = third.ask(f"wait {done}")
    marks.catch_up.add(US, found["entries"] / found["seconds"])
    second.ask(f"wait {done}")
    second.kill()
    marks.restart.add(US, start("n2").wait_ready())


def _load(leader: Process, count: int, at_once: int) -> int:
    leader.ask(f"load {count} {at_once}")
    return count


def show(title: str, marks: Marks, console: Console) -> None:
    """Medians beside the peer's, and beside what the project sets itself."""
    table = Table(title=title)
    table.add_column("what")
    for heading in (US, PEER, "better", "target", ""):
        table.add_column(heading, justify="right")
    for row in marks.all():
        median = row.median(US)
        target = TARGETS.get(row.name)
        verdict = ""
        if target is not None:
            met = median >= target if row.higher_is_better else median <= target
            verdict = "met" if met else "[bold]missed[/bold]"
        peer = PEER in row.values
        table.add_row(
            f"{row.name}, {row.unit}",
            _number(median),
            _number(row.median(PEER)) if peer else "",
            f"{row.ratio(US):.1f}x" if peer else "",
            "" if target is None else _number(target),
            verdict,
        )
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@click.command()
@click.option("--quick", is_flag=True, help="A tenth of everything, one round.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--behind", type=int, help="Entries that a follower lacks; by default a million.")
@click.option("--data", type=click.Path(path_type=Path), help="Disk to measure on (a directory).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(
    quick: bool, rounds: int, behind: int | None, data: Path | None, json_path: Path | None
) -> None:
    """Measure the embedded engine on this machine."""
    console = Console()
    proposals = 20_000 if quick else 200_000
    behind = behind or (100_000 if quick else 1_000_000)
    marks = Marks()
    contestants = [US]
    if find_spec("pysyncobj") is not None:
        contestants.append(PEER)
    else:
        console.print(GET_PEER)

    def run(contestant: str) -> None:
        with tempfile.TemporaryDirectory(prefix="trioraft-bench-", dir=data) as folder:
            measure(contestant, Path(folder), proposals, behind, marks)

    alternate(contestants, 1 if quick else rounds, run, console)
    title = f"Embedded leader, two followers, 64 B entries; {behind:,} entries behind"
    show(title, marks, console)
    if json_path is not None:
        notes: dict[str, Any] = {"proposals": proposals, "behind": behind, "targets": TARGETS}
        write_json(json_path, title, marks.all(), notes)


if __name__ == "__main__":
    main()
