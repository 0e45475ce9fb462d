"""The engine embedded: durable proposals in process, catching up, starting again.

    python bench/engine.py [--quick] [--rounds N] [--json FILE]

Three processes on one machine, each with its own log on disk, synced before it counts. The
proposals are made in the leader's process; its two followers are real ones, over TCP. Then one
follower is started again far behind, and then once more with everything it needs.

See bench/kv.py for the key-value server, bench/groups.py for many groups.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from _report import Scenario, write_json
from rich.console import Console
from rich.table import Table

from trioraft.cli.demo.ports import free_addresses

NODE = Path(__file__).with_name("_engine_node.py")
US = "trioraft"
PROPOSERS = (1, 64, 1024)

#: What the project sets itself; compared with the median.
TARGETS = {"proposals, 1024 at once": 40_000.0, "catching up": 150_000.0, "restart": 10.0}


class Process:
    """A node that takes orders."""

    def __init__(self, name: str, peers: str, folder: Path) -> None:
        command = [sys.executable, str(NODE), name, peers, str(folder / name)]
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
        self.rates = {n: Scenario(f"proposals, {n} at once", "1/s", US) for n in PROPOSERS}
        self.p50 = {n: _lower(f"p50, {n} at once", "ms") for n in PROPOSERS}
        self.p99 = {n: _lower(f"p99, {n} at once", "ms") for n in PROPOSERS}
        self.leader_cpu = _lower("leader's CPU per proposal, 1024 at once", "us")
        self.memory = _lower("leader's peak memory", "MiB")
        self.catch_up = Scenario("catching up", "entries/s", US)
        self.restart = _lower("restart", "s")

    def all(self) -> list[Scenario]:
        rows = [row for n in PROPOSERS for row in (self.rates[n], self.p50[n], self.p99[n])]
        return [*rows, self.leader_cpu, self.memory, self.catch_up, self.restart]


def _lower(name: str, unit: str) -> Scenario:
    return Scenario(name, unit, US, higher_is_better=False)


def measure(folder: Path, proposals: int, behind: int, marks: Marks) -> None:
    """One round, on a new cluster."""
    peers = ",".join(
        f"n{number}={address}" for number, address in enumerate(free_addresses(3), start=1)
    )
    with ExitStack() as stack:

        def start(name: str) -> Process:
            process = Process(name, peers, folder)
            stack.callback(process.kill)
            return process

        leader, second, third = nodes = [start(name) for name in ("n1", "n2", "n3")]
        for node in nodes:
            node.wait_ready()
        done = _load(leader, 2000, 64)
        for at_once in PROPOSERS:
            count = proposals if at_once > 1 else max(proposals // 50, 200)
            before = leader.ask("stats")["cpu"]
            found = leader.ask(f"load {count} {at_once}")
            done += count
            marks.rates[at_once].add(US, count / found["seconds"])
            marks.p50[at_once].add(US, found["p50"] * 1e3)
            marks.p99[at_once].add(US, found["p99"] * 1e3)
        cpu = leader.ask("stats")["cpu"] - before
        marks.leader_cpu.add(US, cpu / count * 1e6)
        third.ask(f"wait {done}")
        third.kill()
        done += _load(leader, behind, 1024)
        marks.memory.add(US, leader.ask("stats")["memory"])
        third = start("n3")
        third.wait_ready()
        found = third.ask(f"wait {done}")
        marks.catch_up.add(US, found["entries"] / found["seconds"])
        second.ask(f"wait {done}")
        second.kill()
        second = start("n2")
        marks.restart.add(US, second.wait_ready())


def _load(leader: Process, count: int, at_once: int) -> int:
    leader.ask(f"load {count} {at_once}")
    return count


def show(title: str, marks: Marks, console: Console) -> None:
    """Medians beside what the project sets itself."""
    table = Table(title=title)
    table.add_column("what")
    for heading in ("median", "lowest to highest", "target", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in marks.all():
        median, values = row.median(US), row.values[US]
        target = TARGETS.get(row.name)
        verdict = ""
        if target is not None:
            met = median >= target if row.higher_is_better else median <= target
            verdict = "met" if met else "[bold]missed[/bold]"
        table.add_row(
            f"{row.name}, {row.unit}",
            _number(median),
            f"{_number(min(values))} to {_number(max(values))}",
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
    for number in range(1, (1 if quick else rounds) + 1):
        console.print(f"[dim]round {number}[/dim]")
        with tempfile.TemporaryDirectory(prefix="trioraft-bench-", dir=data) as folder:
            measure(Path(folder), proposals, behind, marks)
    title = f"Embedded leader, two followers, 64 B entries; {behind:,} entries behind"
    show(title, marks, console)
    if json_path is not None:
        notes: dict[str, Any] = {"proposals": proposals, "behind": behind, "targets": TARGETS}
        write_json(json_path, title, marks.all(), notes)


if __name__ == "__main__":
    main()
