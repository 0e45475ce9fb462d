"""Coverage-guided fuzzing of everything that parses bytes.

python tests/fuzz [TARGET...] [--runs N] [--seconds N] [--no-keep]

Runs each target (all of them by default) for so many executions or seconds, whichever ends first,
one after the other in a process of its own. The corpus in tests/fuzz/corpus is where it starts,
and, minimised, where what it has found stays; the test-suite runs that corpus. An input that makes
a target fail is kept in tests/fuzz/corpus/TARGET too, named `crash-...`, until it is mended and
for ever after. Needs atheris: `pip install 'trioraft[fuzz]'`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
TARGETS = [
    *("deframer", "inflation", "timeout", "metadata", "binary", "status", "message", "details"),
    *("negotiation", "target", "service_config", "drpc", "openraft", "ratis"),
    *("server", "client"),
]
MAX_LEN = {"server": 512, "client": 512, "deframer": 512, "service_config": 1024}
# What libFuzzer says now and then: "#4096 REDUCE cov: 77 ft: 201 corp: 31/499b ... exec/s: 999".
_LINE = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)/\S+ .*?exec/s: (\d+)")

console = Console()


@dataclass
class Result:
    """What became of a target."""

    runs: int = 0
    seconds: float = 0.0
    coverage: int = 0
    features: int = 0
    corpus: int = 0
    failed: bool = False


@click.command(help=__doc__)
@click.argument("targets", nargs=-1, type=click.Choice(TARGETS))
@click.option("--runs", default=100_000, show_default=True, help="Executions of each target.")
@click.option("--seconds", default=3600, show_default=True, help="The most time for each.")
@click.option("--keep/--no-keep", default=True, help="Whether to add to the corpus.")
def main(targets: tuple[str, ...], runs: int, seconds: int, keep: bool) -> None:
    results = {}
    for name in targets or TARGETS:
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as found:
            results[name] = _fuzz(name, found, runs, seconds)
            if keep:
                _keep(name, found)
                results[name].corpus = len(list((CORPUS / name).iterdir()))
    _show(results)
    if any(result.failed for result in results.values()):
        raise SystemExit(1)


def _command(name: str, *arguments: str) -> list[str]:
    return [
        *(sys.executable, str(HERE / "_worker.py"), name),
        *(f"-max_len={MAX_LEN.get(name, 256)}", "-timeout=20", "-rss_limit_mb=2048"),
        f"-artifact_prefix={CORPUS / name}/",
        *arguments,
    ]


def _fuzz(name: str, found: str, runs: int, seconds: int) -> Result:
    """Run one target, telling how it goes."""
    console.print(f"[bold]{name}[/bold]: {runs:,} executions, at most {seconds:,} s")
    result = Result()
    arguments = (f"-runs={runs}", f"-max_total_time={seconds}", found, str(CORPUS / name))
    start = told = time.monotonic()
    process = subprocess.Popen(_command(name, *arguments), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    last: list[str] = []
    for line in process.stderr:
        last = [*last[-40:], line]
        match = _LINE.match(line)
        if match is None:
            continue
        result.runs, result.coverage, result.features, result.corpus = (
            int(match[n]) for n in (1, 3, 4, 5)
        )
        if time.monotonic() - told > 10 or match[2] == "DONE":
            told = time.monotonic()
            console.print(
                f"[dim]  {result.runs:,} runs, {match[6]} a second, {result.coverage} edges, "
                f"{result.features} features, {result.corpus} inputs[/dim]"
            )
    result.seconds = time.monotonic() - start
    if process.wait() != 0:
        result.failed = True
        console.print("".join(last), style="red", markup=False)
    return result


def _keep(name: str, found: str) -> None:
    """Put into the corpus what has added to its coverage; libFuzzer has made it small."""
    for path in sorted(Path(found).iterdir()):
        shutil.copyfile(path, CORPUS / name / path.name)


def _show(results: dict[str, Result]) -> None:
    table = Table(title="fuzzed")
    table.add_column("target")
    for heading in ("executions", "seconds", "edges", "features", "corpus", "failed"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{result.runs:,}",
            f"{result.seconds:.0f}",
            str(result.coverage),
            str(result.features),
            str(result.corpus),
            "yes" if result.failed else "",
        )
    console.print(table)


if __name__ == "__main__":
    main()
