"""What the benches share: medians over alternating runs, a table for people, JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass
class Scenario:
    """One measurement of several contestants.

    Attributes:
        name: What is measured.
        unit: Of the values, such as `calls/s`.
        baseline: The contestant that ratios are taken against.
        values: Every run's value, by contestant, in the order of the table.
        higher_is_better: Whether a larger value wins; ratios above 1 mean better either way.
    """

    name: str
    unit: str
    baseline: str
    higher_is_better: bool = True
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contestant: str, value: float) -> None:
        """Record one run."""
        self.values.setdefault(contestant, []).append(value)

    def median(self, contestant: str) -> float:
        """The median of a contestant's runs."""
        return statistics.median(self.values[contestant])

    def ratio(self, contestant: str) -> float | None:
        """How many times better than the baseline; None without a baseline."""
        if self.baseline not in self.values:
            return None
        own, base = self.median(contestant), self.median(self.baseline)
        return own / base if self.higher_is_better else base / own


def alternate(
    contestants: Sequence[str], rounds: int, run: Callable[[str], None], console: Console
) -> None:
    """Call `run` for A B C A B C ..., so that drift of the machine hits all alike."""
    for number in range(1, rounds + 1):
        for contestant in contestants:
            console.print(f"[dim]round {number} of {rounds}: {contestant}[/dim]")
            run(contestant)


def show(title: str, scenarios: Sequence[Scenario], console: Console) -> None:
    """Print medians, spreads and ratios."""
    table = Table(title=title)
    table.add_column("scenario")
    table.add_column("contestant", no_wrap=True)
    for heading in ("median", "lowest to highest", "better"):
        table.add_column(heading, justify="right", no_wrap=True)
    for scenario in scenarios:
        heading = f"{scenario.name}, {scenario.unit}"
        for contestant, values in scenario.values.items():
            ratio = scenario.ratio(contestant)
            table.add_row(
                heading,
                contestant,
                _number(scenario.median(contestant)),
                f"{_number(min(values))} to {_number(max(values))}",
                f"{ratio:.1f}x" if ratio is not None else "",
            )
            heading = ""
        table.add_section()
    console.print(table)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_json(
    path: Path, title: str, scenarios: Sequence[Scenario], notes: dict[str, Any]
) -> None:
    """Write every run's value, medians, ratios and what machine it was."""
    document = {
        "title": title,
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(),
            "python": sys.version.split()[0],
        },
        "notes": notes,
        "scenarios": [
            {
                "name": scenario.name,
                "unit": scenario.unit,
                "baseline": scenario.baseline,
                "higher_is_better": scenario.higher_is_better,
                "contestants": {
                    contestant: {
                        "median": scenario.median(contestant),
                        "runs": values,
                        "ratio": scenario.ratio(contestant),
                    }
                    for contestant, values in scenario.values.items()
                },
            }
            for scenario in scenarios
        ],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
