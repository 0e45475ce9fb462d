"""gRPC over loopback: trioraft against grpcio.aio and grpclib, in one run.

    python bench/rpc.py [--quick] [--rounds N] [--json FILE]

Each server runs in a process of its own, and so does each client. Contestants take turns (A B C
A B C ...) and medians are compared.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from _report import Scenario, alternate, show, write_json
from rich.console import Console

PEERS = Path(__file__).with_name("_rpc_peers.py")
STACKS = ("trioraft", "grpcio.aio", "grpclib")
BASELINE = "grpcio.aio"
UNARY_WIDTH = 50
STREAM_WIDTH = 64


class Server:
    """A server process of one stack."""

    def __init__(self, stack: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PEERS), "serve", stack],
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
def server(stack: str) -> Iterator[Server]:
    """A running server of one stack."""
    running = Server(stack)
    try:
        yield running
    finally:
        running.stop()


def client(work: str, stack: str, *numbers: int) -> list[float]:
    """Run one client process; return the numbers it prints."""
    command = [sys.executable, str(PEERS), work, stack, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
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


def measure(quick: bool, rounds: int, console: Console) -> tuple[list[Scenario], str]:
    """Run everything; return the scenarios and the name of the unary load generator."""
    generator = "h2load" if shutil.which("h2load") else "trioraft client"
    unary = Scenario(f"unary, {UNARY_WIDTH} at once, {generator}", "calls/s", BASELINE)
    common = Scenario("echo stream, trioraft client", "msg/s", BASELINE)
    native = Scenario("echo stream, own client", "msg/s", BASELINE)
    p50 = Scenario("unary p50, own client", "us", BASELINE, higher_is_better=False)
    p99 = Scenario("unary p99, own client", "us", BASELINE, higher_is_better=False)
    unary_cpu = Scenario("unary, server CPU", "us/call", BASELINE, higher_is_better=False)
    stream_cpu = Scenario("echo stream, server CPU", "us/msg", BASELINE, higher_is_better=False)
    memory = Scenario("server peak memory", "MiB", BASELINE, higher_is_better=False)
    size = {"trioraft": 60_000, "grpcio.aio": 12_000, "grpclib": 6_000}
    if quick:
        size = {stack: count // 6 for stack, count in size.items()}

    def run(stack: str) -> None:
        count = size[stack]
        with server(stack) as peer:
            client("unary", "trioraft", peer.port, 500, 10)  # warm up, and check the answers
            spent = peer.cpu_seconds()
            if generator == "h2load":
                seconds = h2load(peer.port, count)
            else:
                [seconds] = client("unary", "trioraft", peer.port, count, UNARY_WIDTH)
            unary.add(stack, count / seconds)
            unary_cpu.add(stack, (peer.cpu_seconds() - spent) / count * 1e6)
            spent = peer.cpu_seconds()
            [seconds] = client("stream", "trioraft", peer.port, count, STREAM_WIDTH)
            common.add(stack, count / seconds)
            stream_cpu.add(stack, (peer.cpu_seconds() - spent) / count * 1e6)
            [seconds] = client("stream", stack, peer.port, count, STREAM_WIDTH)
            native.add(stack, count / seconds)
            middle, tail = client("latency", stack, peer.port, count // 12)
            p50.add(stack, middle * 1e6)
            p99.add(stack, tail * 1e6)
            memory.add(stack, peer.peak_rss())

    alternate(STACKS, rounds, run, console)
    return [unary, unary_cpu, common, stream_cpu, native, p50, p99, memory], generator


@click.command()
@click.option("--quick", is_flag=True, help="A sixth of the calls, one round.")
@click.option("--rounds", default=3, show_default=True, help="Turns of each contestant.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(quick: bool, rounds: int, json_path: Path | None) -> None:
    """Compare gRPC stacks over loopback."""
    console = Console()
    scenarios, generator = measure(quick, 1 if quick else rounds, console)
    title = f"gRPC over loopback: 64 B echo; streams with {STREAM_WIDTH} messages in flight"
    show(title, scenarios, console)
    if json_path is not None:
        write_json(json_path, title, scenarios, {"unary load generator": generator})


if __name__ == "__main__":
    main()
