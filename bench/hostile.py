"""Every attack of tests/rpc/hostile against a server process, and what an innocent client notices.

    python bench/hostile.py [--quick] [--seconds S] [--only TEXT] [--markdown FILE]

For each attack a server of its own, with default limits: first an innocent client alone, one call
at a time, then the same with the attackers, who start over whenever they are thrown out. Three
processes share the machine's cores: what the innocent client loses is also what the attackers'
own work costs here. Ends with status 1 if an attack did not end as stated, or a call failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rpc" / "hostile"))

import _bodies
import _control
import _fields
import _streams
import click
import trio
from _attack import Attack
from _attacker import attacking
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ATTACKS = [*_streams.ATTACKS, *_control.ATTACKS, *_fields.ATTACKS, *_bodies.ATTACKS]
ATTACKERS = 2  # connections at once
HEADINGS = ("attack", "outcome", "rounds", "p50, ms", "p99, ms", "longest, ms", "memory", "CPU")

console = Console()


@dataclass
class Latency:
    """What an innocent client has seen, in seconds."""

    p50: float
    p99: float
    longest: float
    calls: int
    failures: int


class Victim:
    """A server process and its innocent client."""

    def __init__(self) -> None:
        self._server = _start("_rpc_peers.py", "serve", "trioraft")
        assert self._server.stdout is not None
        self.port = int(self._server.stdout.readline())
        self._client = _start("_hostile_innocent.py", str(self.port))

    def ask(self, seconds: float) -> None:
        """Begin to measure latency for so long."""
        assert self._client.stdin is not None
        self._client.stdin.write(f"{seconds}\n")
        self._client.stdin.flush()

    def answer(self) -> Latency:
        """Wait for what was measured."""
        assert self._client.stdout is not None
        p50, p99, longest, calls, failures = self._client.stdout.readline().split()
        return Latency(float(p50), float(p99), float(longest), int(calls), int(failures))

    def memory(self, field: str = "VmRSS") -> float:
        """Resident MiB of the server now; with VmHWM, the most so far."""
        for line in Path(f"/proc/{self._server.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"the kernel tells no {field}")

    def cpu(self) -> float:
        """CPU seconds of the server so far."""
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End both."""
        for process in (self._client, self._server):
            process.communicate(timeout=20)


def _start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the server's warnings, thousands of them
        text=True,
    )


async def attack_for(attack: Attack, port: int, seconds: float) -> Counter[str]:
    """Attack for so long; how often each outcome came about."""
    outcomes: Counter[str] = Counter()

    async def one() -> None:
        while True:
            over = False  # what is cut off by the end of the time does not count
            try:
                async with attacking(f"127.0.0.1:{port}", reads=attack.reads) as attacker:
                    await attack.run(attacker)
                    if attack.reads:
                        await attacker.settle()
                        await attacker.until(attack.outcome, 1.0)
                    over = attack.holds
                    if attack.holds:
                        await trio.sleep_forever()
                over = True
            finally:
                if over:
                    outcomes[attacker.outcome()] += 1

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(ATTACKERS):
                nursery.start_soon(one)
    return outcomes


@dataclass
class Row:
    """What an attack has come to."""

    attack: Attack
    outcomes: Counter[str]
    before: Latency
    during: Latency
    grown: float  # MiB
    cpu: float  # cores

    @property
    def as_stated(self) -> bool:
        """Whether every round ended as it has to."""
        return all(re.fullmatch(self.attack.outcome, outcome) for outcome in self.outcomes)

    def cells(self) -> list[str]:
        """For the table."""
        outcome = self.outcomes.most_common(1)[0][0] if self.outcomes else "still at it"
        pairs = [
            f"{1000 * old:.1f} -> {1000 * new:.1f}"
            for old, new in (
                (self.before.p50, self.during.p50),
                (self.before.p99, self.during.p99),
                (self.before.longest, self.during.longest),
            )
        ]
        memory, cpu = f"{self.grown:+.0f} MiB", f"{100 * self.cpu:.0f}%"
        return [self.attack.name, outcome, str(self.outcomes.total()), *pairs, memory, cpu]


def measure(attack: Attack, seconds: float) -> Row:
    """One attack on a fresh server."""
    victim = Victim()
    try:
        victim.ask(seconds / 2)
        before = victim.answer()
        memory, cpu = victim.memory(), victim.cpu()
        victim.ask(seconds)
        outcomes = trio.run(attack_for, attack, victim.port, seconds)
        spent = victim.cpu() - cpu
        during = victim.answer()
        grown = victim.memory("VmHWM") - memory
        return Row(attack, outcomes, before, during, grown, spent / seconds)
    finally:
        victim.stop()


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="Half a second each: do they end as stated?")
@click.option("--seconds", default=3.0, show_default=True, help="How long each attack lasts.")
@click.option("--only", default="", help="Attacks whose name contains this.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Where to put the table, too.")
def main(quick: bool, seconds: float, only: str, markdown: Path | None) -> None:
    seconds = 0.5 if quick else seconds
    rows = []
    for attack in ATTACKS:
        if only in attack.name:
            console.print(f"[dim]{attack.name}[/dim]")
            rows.append(measure(attack, seconds))
    table = Table(title=f"{seconds:g} s of each attack, {ATTACKERS} attackers; before -> during")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)
    if markdown is not None:
        lines = [HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)]
        markdown.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in lines))
    wrong = [row for row in rows if not row.as_stated or row.during.failures]
    for row in wrong:
        console.print(
            f"[red]{row.attack.name}: {dict(row.outcomes)}, "
            f"{row.during.failures} innocent calls failed[/red]"
        )
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
