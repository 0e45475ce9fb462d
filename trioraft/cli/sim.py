"""`trioraft sim`: look for broken promises in simulated clusters, seed by seed."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from trioraft.testing.planted import BUGS
from trioraft.testing.seeds import LEVELS, Options, SeedsReport, replay, run_seeds

__all__ = ["sim"]

_DEFAULT_SEEDS = {"stack": 100, "core": 10_000}
_FRESH = 1 << 40  # fresh seeds are drawn below it


@click.command()
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many seeds to run "
    "(default: 100 of the stack, 10000 of the core; with --minutes no limit).",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    metavar="M",
    help="Begin no seed after M minutes.",
)
@click.option(
    "--first",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="S",
    help="The first seed.",
)
@click.option("--fresh", is_flag=True, help="Begin at a random seed that nobody has run before.")
@click.option("--seed", type=click.IntRange(min=0), metavar="S", help="Run this seed alone.")
@click.option("--trace", is_flag=True, help="With --seed: print everything that happens.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="stack",
    show_default=True,
    help="Complete nodes on simulated network and disks, or the consensus core alone.",
)
@click.option(
    "--wire",
    type=click.Choice(("ratis", "openraft")),
    help="The dialect between peers of the stack; by default the seed chooses.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.5),
    default=5.0,
    show_default=True,
    metavar="T",
    help="Virtual seconds under load and faults, per seed of the stack.",
)
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="J",
    help="Processes (default: one per core of this machine).",
)
@click.option(
    "--plant",
    type=click.Choice([bug.name for bug in BUGS]),
    metavar="BUG",
    help=f"Make a known mistake, to see it found: {', '.join(bug.name for bug in BUGS)}.",
)
@click.option(
    "--planted",
    is_flag=True,
    help="Plant every known mistake in turn, and fail if one of them is not found.",
)
@click.option("--keep-going", is_flag=True, help="Do not stop at the first seed that fails.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def sim(
    seeds: int | None, minutes: float | None, first: int, fresh: bool, seed: int | None,
    trace: bool, level: str, wire: str | None, seconds: float, jobs: int | None,
    plant: str | None, planted: bool, keep_going: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run whole clusters under a virtual clock, with faults chosen by seeds.

    Every seed is another run: of scheduling, network, disks, crashes and clients. The same seed
    is always the same run. Raft's promises are checked after every step. Exits with 1 when a
    promise was broken, and says how to see that run again.

    \b
    trioraft sim --seeds 1000             a thousand whole clusters
    trioraft sim --level core --minutes 5 --fresh
    trioraft sim --seed 42 --trace        one of them, with all that happens in it
    trioraft sim --level core --plant forget-votes --seeds 100
    trioraft sim --planted                all known mistakes, and how soon each is found
    """
    if trace and seed is None:
        raise click.UsageError("--trace shows one run: add --seed S")
    jobs = jobs or os.cpu_count() or 1
    if planted:
        raise SystemExit(_plant_all(first, jobs, as_json))
    options = Options(level, wire, seconds, plant)
    started = time.monotonic()
    if seed is not None:
        report, lines = replay(seed, options)
        if trace and not as_json:
            for line in lines:
                click.echo(line)
    else:
        first = random.SystemRandom().randrange(_FRESH) if fresh else first
        count = seeds if seeds or minutes else _DEFAULT_SEEDS[level]
        report = _run(first, count, options, jobs, minutes, keep_going, quiet=as_json)
        seed = first
    _show(report, options, seed, time.monotonic() - started, as_json)
    if report.failures:
        raise SystemExit(1)


def _run(
    first: int,
    count: int | None,
    options: Options,
    jobs: int,
    minutes: float | None,
    keep_going: bool,
    *,
    quiet: bool,
) -> SeedsReport:
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    total = SeedsReport()
    reports = run_seeds(first, count, options, jobs=jobs, deadline=deadline)
    with _progress(count, quiet) as bar:
        try:
            for report in reports:
                total += report
                bar.update(bar.task_ids[0], completed=total.seeds)
                if total.failures and not keep_going:
                    break
        finally:
            reports.close()
    return total


def _plant_all(first: int, jobs: int, as_json: bool) -> int:
    """Look for every planted bug; the exit status is 1 if one was not found."""
    rows: list[dict[str, Any]] = []
    table = Table(title="planted bugs")
    for column in ("bug", "level", "the mistake", "found after", "of at most"):
        table.add_column(
            column, justify="right" if column in ("found after", "of at most") else "left"
        )
    for bug in BUGS:
        options = Options(bug.level, plant=bug.name)
        with Console(stderr=True).status(f"{bug.name}: {bug.what}"):
            report = _search(first, bug.seeds, options, jobs)
        found = min(seed for seed, _, _ in report.failures) - first + 1 if report.failures else None
        rows.append({"bug": bug.name, "level": bug.level, "found_after": found, "limit": bug.seeds})
        table.add_row(
            bug.name, bug.level, bug.what, "NOT FOUND" if found is None else f"{found:,} seeds",
            f"{bug.seeds:,}", style="red" if found is None else None,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        Console().print(table)
    return int(any(row["found_after"] is None for row in rows))


def _search(first: int, count: int, options: Options, jobs: int) -> SeedsReport:
    total = SeedsReport()
    reports = run_seeds(first, count, options, jobs=jobs)
    try:
        for report in reports:
            total += report
            if total.failures:
                break
    finally:
        reports.close()
    return total


@contextmanager
def _progress(count: int | None, quiet: bool) -> Iterator[Progress]:
    columns = (
        SpinnerColumn(), TextColumn("seeds"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        bar.add_task("seeds", total=count)
        yield bar


def _show(report: SeedsReport, options: Options, first: int, seconds: float, as_json: bool) -> None:
    failures = sorted(report.failures)
    if as_json:
        outcome = {
            "level": options.level,
            "first": first,
            "seeds": report.seeds,
            "elapsed_seconds": round(seconds, 1),
            "counts": dict(sorted(report.counts.items())),
            "failures": [
                {"seed": seed, "broken": broken, "replay": _replay_command(seed, options)}
                for seed, broken, _ in failures
            ],
        }
        click.echo(json.dumps(outcome, indent=2))
        return
    for seed, broken, last_lines in failures:
        click.echo("\n".join(f"    {line}" for line in last_lines))
        click.secho(f"seed {seed}: {broken}", fg="red", bold=True)
        click.echo(f"see it again:  {_replay_command(seed, options)}\n")
    title = f"{report.seeds:,} seeds of the {options.level} from {first} on"
    table = Table(title=title, min_width=len(title) + 2)
    table.add_column("what happened")
    table.add_column("times", justify="right")
    for name, times in sorted(report.counts.items()):
        table.add_row(name, f"{times:,}")
    table.add_row("broken promises", str(len(failures)), style="red" if failures else "green")
    Console().print(table)
    rate = 60 * report.seeds / max(seconds, 1e-3)
    click.echo(f"{seconds:.1f} s, {rate:,.0f} seeds a minute")


def _replay_command(seed: int, options: Options) -> str:
    command = f"trioraft sim --seed {seed} --trace"
    if options.level != "stack":
        command += f" --level {options.level}"
    if options.wire is not None:
        command += f" --wire {options.wire}"
    if options.level == "stack" and options.seconds != 5.0:
        command += f" --seconds {options.seconds:g}"
    return command + (f" --plant {options.plant}" if options.plant else "")
