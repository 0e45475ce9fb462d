"""A soak: mixed calls between processes for half an hour, after which nothing is left behind.

python tests/rpc/soak [--minutes 30] [--clients 2] [--seed N] [--plot FILE]

All four kinds of calls, some of them failing, crashing, overdue, cancelled at any moment; channels
that close under their calls; connections that vanish. Every reply is checked. Tasks and open files
of each process have to return to their number at rest before the load, and memory to within 16
MiB of it. Ends with status 1 if they do not.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

import click
from _plot import write_charts
from _watch import Outcome, soak
from rich.console import Console
from rich.table import Table

console = Console()


@click.command(help=__doc__)
@click.option("--minutes", default=30.0, show_default=True, help="How long the load lasts.")
@click.option("--clients", default=2, show_default=True, help="Client processes.")
@click.option("--seed", default=None, type=int, help="Of the calls; drawn anew by default.")
@click.option("--plot", type=click.Path(path_type=Path), help="Where to draw memory and tasks.")
def main(minutes: float, clients: int, seed: int | None, plot: Path | None) -> None:
    seed = int(time.time()) if seed is None else seed
    seconds = 60 * minutes
    console.print(f"soak of {minutes:g} minutes, {clients} clients, seed {seed}")
    progress = _Progress(seconds)
    outcome = soak(seconds, min(30.0, seconds / 2), clients, seed, progress)
    _show(outcome)
    if plot is not None:
        _draw(plot, outcome)
    for problem in outcome.problems:
        console.print(f"[red]{problem}[/red]")
    if outcome.problems:
        raise SystemExit(1)
    console.print("[green]tasks, files and memory are back where they began[/green]")


class _Progress:
    """A line now and then."""

    def __init__(self, seconds: float) -> None:
        self._every = max(5.0, seconds / 60)
        self._next = self._every

    def __call__(self, now: float, outcome: Outcome) -> None:
        if now < self._next:
            self._next = min(self._next, now + self._every)
            return
        self._next = now + self._every
        parts = []
        for name, samples in outcome.samples.items():
            latest: dict[str, Any] = samples[-1][1]
            parts.append(
                f"{name}: {sum(latest['counts'].values()):,} calls, {latest['tasks']} tasks,"
                f" {latest['files']} files, {latest['memory'] / 1024:.0f} MiB"
            )
        console.print(f"[dim]{now:6.0f} s  {'; '.join(parts)}[/dim]", soft_wrap=True)


def _show(outcome: Outcome) -> None:
    table = Table(title=f"{outcome.calls:,} calls in {outcome.seconds / 60:g} minutes; at rest")
    table.add_column("process")
    for heading in ("tasks", "files", "memory, MiB"):
        table.add_column(heading, justify="right")
    table.add_column("how its calls ended")
    for name in sorted(outcome.after):
        before, after = outcome.before[name], outcome.after[name]
        counts = {
            key: count - before["counts"].get(key, 0) for key, count in after["counts"].items()
        }
        table.add_row(
            name,
            f"{before['tasks']} -> {after['tasks']}",
            f"{before['files']} -> {after['files']}",
            f"{before['memory'] / 1024:.1f} -> {after['memory'] / 1024:.1f}",
            ", ".join(f"{key} {count:,}" for key, count in sorted(counts.items())),
        )
    console.print(table)


def _draw(path: Path, outcome: Outcome) -> None:
    def lines(thing: str, scale: float) -> dict[str, list[tuple[float, float]]]:
        return {
            name: [(max(1.0, at), sample[thing] * scale) for at, sample in samples]
            for name, samples in outcome.samples.items()
        }

    charts = {"memory, MiB": lines("memory", 1 / 1024), "tasks": lines("tasks", 1)}
    write_charts(path, f"soak: {outcome.calls:,} calls", "seconds", charts)


if __name__ == "__main__":
    main()
