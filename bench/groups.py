"""Many idle groups on three servers of one machine: what they cost, and what a lost server costs.

    python bench/groups.py [--groups N] [--quick] [--no-rest] [--json FILE]

Three processes host every group; nobody asks them anything. Measured: CPU of all three together
over a while at rest, their memory, and how long it takes until every group has a new leader
after the server that leads most of them is killed.
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


def wait_until(
    servers: list[Server], groups: int, what: str, console: Console, *, gone: str = "-"
) -> float:
    """Seconds until `what` ("known" or "resting") counts every group on every server."""
    began = time.monotonic()
    label = {"known": "groups with a leader", "resting": "groups at rest"}[what]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(label, total=groups * len(servers))
        while (count := sum(s.ask(gone)[what] for s in servers)) < groups * len(servers):
            progress.update(bar, completed=count)
            if time.monotonic() - began > 300:
                raise click.ClickException(f"only {count} {label} after 300 s")
            time.sleep(0.1)
    return time.monotonic() - began


def measure(groups: int, seconds: float, rest: bool, console: Console) -> dict[str, Any]:
    began = time.monotonic()
    with running(groups, rest) as servers:
        opened = time.monotonic() - began
        elected = wait_until(servers, groups, "known", console)
        console.print(f"[dim]opened in {opened:.1f} s, leaders {elected:.1f} s later[/dim]")
        if rest:
            wait_until(servers, groups, "resting", console)
        else:
            time.sleep(5)
        before = sum(server.cpu() for server in servers)
        time.sleep(seconds)
        cpu = (sum(server.cpu() for server in servers) - before) / seconds * 100
        memory = sum(server.memory() for server in servers)
        victim = max(servers, key=lambda server: server.ask()["led"])
        led = victim.ask()["led"]
        victim.process.send_signal(signal.SIGKILL)
        servers.remove(victim)
        takeover = wait_until(servers, groups, "known", console, gone=victim.name)
        return {"cpu": cpu, "memory": memory, "led": led, "takeover": takeover, "opened": opened}


def show(groups: int, found: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{groups:,} idle groups on three servers, one machine")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("mark", justify="right")
    table.add_row("CPU of all three, % of one core", f"{found['cpu']:.2f}", "at most 5")
    table.add_row("memory of all three, MiB", f"{found['memory']:,.0f}", "at most 1,024")
    led = f"new leaders for all, {found['led']:,} led by the one killed, s"
    table.add_row(led, f"{found['takeover']:.1f}", "at most 10")
    table.add_row("opening all on all three, s", f"{found['opened']:.1f}", "")
    console.print(table)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--groups", default=1000, show_default=True, help="Groups of three.")
@click.option("--seconds", default=30.0, show_default=True, help="How long to watch them idle.")
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
        units = {"cpu": "% of one core", "memory": "MiB", "takeover": "s", "opened": "s"}
        scenarios = []
        for name, unit in units.items():
            scenario = Scenario(name, unit, "", higher_is_better=False)
            scenario.add("trioraft", found[name])
            scenarios.append(scenario)
        notes = {"groups": groups, "rest": not no_rest, "led_by_killed": found["led"]}
        write_json(json_path, "Many idle groups", scenarios, notes)


if __name__ == "__main__":
    main()
