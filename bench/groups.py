"""Many idle groups on three servers of one machine: what they cost, and what a lost server costs.

    python bench/groups.py [--groups N] [--quick] [--no-rest] [--json FILE]

Three processes host every group; nobody asks them anything. Measured: how long it takes to open
them and until all have leaders and rest, CPU and memory of all three at rest, how long it takes
until every group has a new leader after the server that leads most of them is killed, and until
the survivors rest again. CPU is processor time of the processes, so it means the same on a busy
machine; times do not, and the load is printed with them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from _report import Scenario, write_json
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

NODE = Path(__file__).with_name("_groups_node.py")
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 300  # seconds for one phase


class Server:
    """One process."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.process = process

    def wait_ready(self) -> None:
        if self._line() != "ready\n":
            raise click.ClickException(f"server {self.name} did not start")

    def ask(self, gone: str = "-") -> dict[str, int]:
        assert self.process.stdin is not None
        self.process.stdin.write(gone + "\n")
        self.process.stdin.flush()
        answer: dict[str, int] = json.loads(self._line())
        return answer

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """MiB in RAM now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def running(groups: int, rest: bool) -> Iterator[list[Server]]:
    """Three servers with all groups open."""
    ports = free_ports(3)
    peers = ",".join(f"n{i}=127.0.0.1:{port}" for i, port in enumerate(ports, 1))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="trioraft-bench-"))
        servers = []
        for i, port in enumerate(ports, 1):
            command = [
                sys.executable, str(NODE), f"n{i}", f"127.0.0.1:{port}", peers,
                f"{folder}/n{i}", str(groups), "yes" if rest else "no",
            ]  # fmt: skip
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            servers.append(Server(f"n{i}", process))
        for server in servers:
            server.wait_ready()
        yield servers


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


class Phase:
    """What one phase took: seconds, and processor time of all servers. A context manager."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = servers

    def __enter__(self) -> Phase:
        self._began, self._cpu = time.monotonic(), cpu_of(self._servers)
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        self.cpu = cpu_of(self._servers) - self._cpu

    @property
    def share(self) -> float:
        """Of one core, in percent."""
        return self.cpu / self.seconds * 100


def cpu_of(servers: list[Server]) -> float:
    return sum(server.cpu() for server in servers)


def wait_until(
    servers: list[Server], groups: int, what: str, console: Console, *, gone: str = "-"
) -> Phase:
    """Wait until `what` ("known" or "resting") counts every group on every server."""
    began = time.monotonic()
    label = {"known": "groups with a leader", "resting": "groups at rest"}[what]
    with Phase(servers) as phase, Progress(console=console, transient=True) as progress:
        bar = progress.add_task(label, total=groups * len(servers))
        while (count := sum(s.ask(gone)[what] for s in servers)) < groups * len(servers):
            progress.update(bar, completed=count)
            if time.monotonic() - began > PATIENCE:
                raise click.ClickException(f"only {count} {label} after {PATIENCE} s")
            time.sleep(0.1)
    return phase


def idle(servers: list[Server], seconds: float) -> float:
    """CPU of all servers while nothing happens, in percent of one core."""
    with Phase(servers) as phase:
        time.sleep(seconds)
    return phase.share


def measure(groups: int, seconds: float, rest: bool, console: Console) -> dict[str, Any]:
    found: dict[str, Any] = {}
    began = time.monotonic()
    with running(groups, rest) as servers:
        found["opened"] = time.monotonic() - began
        found["open_cpu"] = cpu_of(servers)
        say(console, f"opened in {found['opened']:.1f} s")
        elected = wait_until(servers, groups, "known", console)
        found["elected"], found["elect_cpu"] = elected.seconds, elected.cpu
        say(console, f"all have leaders {elected.seconds:.1f} s later")
        settle(servers, groups, rest, console)
        found["cpu"] = idle(servers, seconds)
        found["memory"] = sum(server.memory() for server in servers)
        say(console, "idle long enough; now one server dies")
        victim = max(servers, key=lambda server: server.ask()["led"])
        found["led"] = victim.ask()["led"]
        terms = max(server.ask()["terms"] for server in servers)
        servers.remove(victim)
        victim.process.send_signal(signal.SIGKILL)
        takeover = wait_until(servers, groups, "known", console, gone=victim.name)
        found["takeover"], found["takeover_cpu"] = takeover.seconds, takeover.cpu
        found["elections"] = max(server.ask()["terms"] for server in servers) - terms
        say(console, f"new leaders after {takeover.seconds:.1f} s")
        found["settled"] = settle(servers, groups, rest, console)
        found["cpu_after"] = idle(servers, seconds)
    return found


def settle(servers: list[Server], groups: int, rest: bool, console: Console) -> float:
    """Wait until all rest, or for a while if they are not to; returns seconds."""
    if rest:
        return wait_until(servers, groups, "resting", console).seconds
    time.sleep(5)
    return 0.0


def say(console: Console, what: str) -> None:
    console.print(f"[dim]{what} (load {os.getloadavg()[0]:.1f})[/dim]")


def mark(limit: int, value: float, unit: str = "") -> str:
    return f"at most {limit:,}{unit} {'✓' if value <= limit else '✗'}"


def show(groups: int, found: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{groups:,} idle groups of three on one machine")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("mark", justify="right")
    opened = f"{found['opened']:.1f} s, {found['open_cpu']:.1f} s of CPU"
    elected = f"{found['elected']:.1f} s, {found['elect_cpu']:.1f} s of CPU"
    takeover = f"{found['takeover']:.1f} s, {found['takeover_cpu']:.1f} s of CPU"
    table.add_row("opened on all three servers", opened, "")
    table.add_row("then until all have leaders", elected, "")
    table.add_row("at rest: CPU, % of one core", f"{found['cpu']:.2f}", mark(5, found["cpu"]))
    table.add_row("memory, MiB", f"{found['memory']:,.0f}", mark(1024, found["memory"]))
    killed = f"a server dies that leads {found['led']:,}: new leaders"
    table.add_row(killed, takeover, mark(10, found["takeover"], " s"))
    table.add_row("elections that took", f"{found['elections']:,}", "")
    table.add_row("then until the survivors rest", f"{found['settled']:.1f} s", "")
    after = f"{found['cpu_after']:.2f}"
    table.add_row("survivors: CPU, % of one core", after, mark(5, found["cpu_after"]))
    console.print(table)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--groups", default=1000, show_default=True, help="Groups of three.")
@click.option("--seconds", default=20.0, show_default=True, help="How long to watch them idle.")
@click.option("--quick", is_flag=True, help="100 groups for 5 seconds.")
@click.option("--no-rest", is_flag=True, help="Let idle groups go on with their heartbeats.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write JSON.")
def main(groups: int, seconds: float, quick: bool, no_rest: bool, json_path: Path | None) -> None:
    """What many idle groups cost, and how fast they recover from a lost server."""
    console = Console()
    if quick:
        groups, seconds = 100, 5.0
    found = measure(groups, seconds, not no_rest, console)
    show(groups, found, console)
    if json_path is not None:
        units = {
            "opened": "s", "elected": "s", "cpu": "% of one core", "memory": "MiB",
            "takeover": "s", "takeover_cpu": "s", "settled": "s", "cpu_after": "% of one core",
        }  # fmt: skip
        scenarios = []
        for name, unit in units.items():
            scenario = Scenario(name, unit, "", higher_is_better=False)
            scenario.add("trioraft", found[name])
            scenarios.append(scenario)
        notes = {
            "groups": groups,
            "rest": not no_rest,
            "led_by_killed": found["led"],
            "elections": found["elections"],
        }
        write_json(json_path, "Many idle groups", scenarios, notes)


if __name__ == "__main__":
    main()
