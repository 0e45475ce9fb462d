"""gRPC over loopback: trioraft against grpcio.aio, grpclib, purerpc and grpc-go, in one run.

    python bench/rpc.py [--quick] [--rounds N] [--json FILE]

Each server runs in a process of its own, and so does each client. Contestants take turns (A B C
A B C ...) and medians are compared. grpc-go needs `go`; purerpc is installed into a virtual
environment of its own (`_rpc_others.py`); what cannot be had is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from _report import Scenario, alternate, show, write_json
from _rpc_others import commands
from rich.console import Console

STACKS = ("trioraft", "grpcio.aio", "grpclib", "purerpc", "grpc-go")
BASELINE = "grpcio.aio"
UNARY_WIDTH = 50
STREAM_WIDTH = 64
# Calls per round, so that each contestant is at it for about as long.
SIZES = {
    "trioraft": 60_000,
    "grpcio.aio": 12_000,
    "grpclib": 6_000,
    "purerpc": 3_000,
    "grpc-go": 60_000,
}
BULK_STACKS = ("trioraft", "grpcio.aio", "grpc-go")


class Server:
    """A server process of one stack."""

    def __init__(self, command: list[str], stack: str) -> None:
        self._process = subprocess.Popen(
            [*command, "serve", stack],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def peak_rss(self) -> float:
        """Largest resident size so far, MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel tells no peak RSS")

    def cpu_seconds(self) -> float:
        """CPU time of all its threads so far: unlike rates, hardly disturbed by other load."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)


@contextmanager
def server(command: list[str], stack: str) -> Iterator[Server]:
    """A running server of one stack."""
    running = Server(command, stack)
    try:
        yield running
    finally:
        running.stop()


def client(command: list[str], work: str, stack: str, *numbers: int) -> list[float]:
    """Run one client process; return the numbers it prints."""
    done = subprocess.run(
        [*command, work, stack, *map(str, numbers)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [float(word) for word in done.stdout.split()]


def h2load(port: int, count: int) -> float:
    """Seconds that h2load takes for `count` unary calls on one connection."""
    message = b"\x0a\x40" + b"x" * 64
    with tempfile.NamedTemporaryFile() as body:
        body.write(struct.pack(">BI", 0, len(message)) + message)
        body.flush()
        done = subprocess.run(
            [
                "h2load",
                *("-n", str(count), "-c", "1", "-m", str(UNARY_WIDTH), "-d", body.name),
                *("-H", "content-type: application/grpc", "-H", "te: trailers"),
                f"http://127.0.0.1:{port}/trioraft.testing.Echo/Unary",
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    rate = re.search(r"finished in \S+, ([\d.]+) req/s", done.stdout)
    if f"{count} succeeded" not in done.stdout or rate is None:
        raise RuntimeError(f"h2load saw failures:\n{done.stdout}")
    return count / float(rate[1])


class Measurements:
    """What is measured, and how one contestant has its turn."""

    def __init__(self, commands: dict[str, list[str]], scale: float) -> None:
        self._commands = commands
        self._scale = scale
        self.generator = "h2load" if shutil.which("h2load") else "trioraft client"
        self.unary = Scenario(
            f"unary, {UNARY_WIDTH} at once, {self.generator}", "calls/s", BASELINE
        )
        self.unary_cpu = Scenario("unary, server CPU", "us/call", BASELINE, False)
        self.calling = Scenario("unary client, trioraft server", "calls/s", BASELINE)
        self.both = Scenario("unary, own client and server", "calls/s", BASELINE)
        self.common = Scenario("echo stream, trioraft client", "msg/s", BASELINE)
        self.stream_cpu = Scenario("echo stream, server CPU", "us/msg", BASELINE, False)
        self.native = Scenario("echo stream, own client", "msg/s", BASELINE)
        self.bulk = Scenario("stream of 1 MiB messages, own client", "MB/s", BASELINE)
        self.p50 = Scenario("unary p50, own client", "us", BASELINE, False)
        self.p99 = Scenario("unary p99, own client", "us", BASELINE, False)
        self.memory = Scenario("server peak memory", "MiB", BASELINE, False)

    def scenarios(self) -> list[Scenario]:
        """In the order of the table."""
        return [found for found in vars(self).values() if isinstance(found, Scenario)]

    def turn(self, stack: str) -> None:
        """Everything of one contestant, once."""
        command, own = self._commands[stack], self._commands["trioraft"]
        count = int(SIZES[stack] * self._scale)
        with server(command, stack) as peer:
            client(own, "unary", "trioraft", peer.port, 500, 10)  # warm up, check the answers
            spent = peer.cpu_seconds()
            if self.generator == "h2load":
                seconds = h2load(peer.port, count)
            else:
                [seconds] = client(own, "unary", "trioraft", peer.port, count, UNARY_WIDTH)
            self.unary.add(stack, count / seconds)
            self.unary_cpu.add(stack, (peer.cpu_seconds() - spent) / count * 1e6)
            spent = peer.cpu_seconds()
            [seconds] = client(own, "stream", "trioraft", peer.port, count, STREAM_WIDTH)
            self.common.add(stack, count / seconds)
            self.stream_cpu.add(stack, (peer.cpu_seconds() - spent) / count * 1e6)
            [seconds] = client(command, "stream", stack, peer.port, count, STREAM_WIDTH)
            self.native.add(stack, count / seconds)
            [seconds] = client(command, "unary", stack, peer.port, count, UNARY_WIDTH)
            self.both.add(stack, count / seconds)
            middle, tail = client(command, "latency", stack, peer.port, max(count // 12, 100))
            self.p50.add(stack, middle * 1e6)
            self.p99.add(stack, tail * 1e6)
            self.memory.add(stack, peer.peak_rss())
            if stack in BULK_STACKS:
                count_bulk = int(800 * self._scale)
                [seconds] = client(command, "bulk", stack, peer.port, count_bulk)
                self.bulk.add(stack, count_bulk * 2**20 / seconds / 1e6)
        with server(own, "trioraft") as peer:
            [seconds] = client(command, "unary", stack, peer.port, count, UNARY_WIDTH)
            self.calling.add(stack, count / seconds)


@click.command()
@click.option("--quick", is_flag=True, help="A sixth of the calls, one round.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each contestant.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(quick: bool, rounds: int, json_path: Path | None) -> None:
    """Compare gRPC stacks over loopback."""
    console = Console()
    found, missing = commands(list(STACKS))
    for stack, reason in missing.items():
        console.print(f"[yellow]without {stack}: {reason}[/yellow]")
    measured = Measurements(found, 1 / 6 if quick else 1)
    alternate(list(found), 1 if quick else rounds, measured.turn, console)
    title = f"gRPC over loopback: 64 B echo; streams with {STREAM_WIDTH} messages in flight"
    show(title, measured.scenarios(), console)
    if json_path is not None:
        generator = {"unary load generator": measured.generator}
        write_json(json_path, title, measured.scenarios(), generator)


if __name__ == "__main__":
    main()
