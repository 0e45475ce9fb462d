"""The worked example of docs/simulation.md is code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trioraft.testing.planted import BUGS

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_every_planted_bug_is_listed() -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    for bug in BUGS:
        assert f"| `{bug.name}` | {bug.level} | {bug.what} | {bug.seeds:,} |" in rows


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert all("writes" in line for line in lines)
