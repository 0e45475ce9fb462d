"""Where the microseconds of one unary call go, step by step, at the server and at the client.

    python bench/rpc_profile.py [--rounds 8] [--calls 5000] [--json FILE]

64 bytes each way over loopback, on one connection: 50 calls under way, then one at a time. The
server's caller is h2load, the client's server a process of its own; the end that is measured has
its process to itself, without probes, with one around every function of a step (`_rpc_steps.py`)
and with two, which tells what one costs; in turns. Each counts in short turns of 100 calls, and
the best tenth of them is taken, of the best process of each kind: on a busy machine, those that
nothing has disturbed. Steps exclude each other, so they add up: the last lines set their sum
beside the CPU time without probes.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import click
import trio
from _probes import Ledger
from _report import Scenario, alternate, write_json
from _rpc_steps import CLIENT, SERVER, Greeter, GreeterStub, Hello, install
from rich.console import Console
from rich.table import Table

from trioraft import rpc

TURN = 100
SKIPPED = 5  # turns, while the interpreter warms up
WIDTHS = {"50 at once": 50, "one at a time": 1}
SUM, UNPROBED = "sum of the steps", "CPU time without probes"


class Turns:
    """Counts calls, and takes what each turn of them has cost."""

    def __init__(self, take: Callable[[], Ledger]) -> None:
        self._take = take
        self._calls = 0
        self._taken: list[Ledger] = []

    def count(self) -> None:
        """One more call."""
        self._calls += 1
        if self._calls % TURN == 0:
            self._taken.append(self._take())

    def best(self) -> Ledger:
        """Means per call, in us, of the best tenth of the turns."""
        taken = sorted(self._taken[SKIPPED:], key=Ledger.total)
        taken = taken[: max(1, len(taken) // 10)]

        def means(rows: Iterable[list[float]], unit: float) -> list[float]:
            return [mean(column) / TURN / unit for column in zip(*rows, strict=True)]

        return Ledger(
            means((one.spent for one in taken), 1e3),
            means((one.entered for one in taken), 1),
            means((one.left for one in taken), 1),
        )


def thread_time() -> Callable[[], Ledger]:
    """Takes the CPU time of this thread, and nothing of its steps."""
    last = time.thread_time_ns()

    def take() -> Ledger:
        nonlocal last
        before, last = last, time.thread_time_ns()
        return Ledger([last - before], [], [])

    return take


async def serve_here(turns: Turns) -> None:
    """The server's process: prints its port, ends with its input."""
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(rpc.serve, [Greeter(turns.count)], port=0))
        print(address[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def call_there(turns: Turns, port: int, width: int, calls: int) -> None:
    """The client's process."""

    async def in_turn() -> None:
        request = Hello(name="x" * 64)
        for _ in range(calls // width):
            await stub.Greet(request)
            turns.count()

    async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
        stub = GreeterStub(channel)
        await stub.Greet(Hello())
        async with trio.open_nursery() as nursery:
            for _ in range(width):
                nursery.start_soon(in_turn)


def child(end: str, layers: str, *numbers: str) -> None:
    """A process of its own; prints what it has found, unless it only answers."""
    steps, main = (SERVER, serve_here) if end == "server" else (CLIENT, call_there)
    instruments: list[trio.abc.Instrument] = []
    take = thread_time()
    if int(layers):
        probes = install(steps, int(layers))
        take, instruments = probes.take, [probes]
    turns = Turns(take)
    run: Callable[..., Any] = trio.run
    run(main, turns, *map(int, numbers), instruments=instruments)
    print(json.dumps(vars(turns.best())))


# ---- the parent ----------------------------------------------------------------------------------


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def h2load(port: int, width: int, calls: int) -> None:
    """Have h2load make the calls."""
    message = Hello(name="x" * 64).SerializeToString()
    with tempfile.NamedTemporaryFile() as body:
        body.write(struct.pack(">BI", 0, len(message)) + message)
        body.flush()
        fields = ("content-type: application/grpc", "te: trailers")
        headers = [word for field in fields for word in ("-H", field)]
        load = ["h2load", "-n", str(calls), "-c", "1", "-m", str(width), "-d", body.name]
        target = f"http://127.0.0.1:{port}/greeter.Greeter/Greet"
        done = subprocess.run([*load, *headers, target], capture_output=True, text=True, check=True)
    if f"{calls} succeeded" not in done.stdout:
        raise click.ClickException(f"h2load saw failures:\n{done.stdout}")


def measure(end: str, layers: int, width: int, calls: int) -> Ledger:
    """What a process with so many layers of probes finds."""
    server = start("server", layers if end == "server" else 0)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    if end == "server":
        h2load(port, width, calls)
        found = server.communicate(timeout=60)[0]
    else:
        found = start("client", layers, port, width, calls).communicate(timeout=120)[0]
        server.communicate(timeout=60)
    return Ledger(**json.loads(found))


def profile(end: str, rounds: int, calls: int, console: Console) -> list[Scenario]:
    """All figures of one end, of the best process of each kind."""
    found: dict[tuple[str, int], list[Ledger]] = {}

    def turn(width: str) -> None:
        for layers in range(3):
            one = measure(end, layers, WIDTHS[width], calls)
            found.setdefault((width, layers), []).append(one)

    alternate(list(WIDTHS), rounds, turn, console)
    steps = list(SERVER if end == "server" else CLIENT)
    scenarios = [Scenario(name, "us", "", False) for name in (*steps, SUM, UNPROBED)]
    for width in WIDTHS:
        plain, once, twice = (min(found[width, layers], key=Ledger.total) for layers in range(3))
        net = once.net(twice)
        for scenario, value in zip(scenarios, [*net, sum(net), plain.total()], strict=True):
            scenario.add(width, value)
    return scenarios


def table(title: str, scenarios: list[Scenario]) -> Table:
    """A row for each step, a column for each width."""
    found = Table("us per call", title=title)
    for width in WIDTHS:
        found.add_column(width, justify="right")
    for one in scenarios:
        figures = (f"{one.median(width):.1f}" for width in WIDTHS)
        found.add_row(one.name, *figures, end_section=one is scenarios[-3])
    return found


@click.command()
@click.option("--rounds", default=8, show_default=True, help="Processes of each kind.")
@click.option("--calls", default=5_000, show_default=True, help="Calls of each process.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(rounds: int, calls: int, json_path: Path | None) -> None:
    """Measure where the microseconds of a unary call go."""
    if shutil.which("h2load") is None:
        raise click.ClickException("h2load is needed: apt-get install nghttp2-client")
    console = Console()
    both: list[Scenario] = []
    for end in ("server", "client"):
        found = profile(end, rounds, calls, console)
        console.print(table(f"unary calls of 64 B: the {end}'s microseconds", found))
        both += [Scenario(f"{end}: {one.name}", one.unit, "", False, one.values) for one in found]
    if json_path is not None:
        write_json(json_path, "unary calls of 64 B, us per call", both, {"calls": calls})


if __name__ == "__main__":
    if sys.argv[1:2] in (["server"], ["client"]):
        child(*sys.argv[1:])
    else:
        main()
