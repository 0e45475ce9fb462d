"""The worked example of docs/simulation.md is code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trioraft.testing.faults import FAULTS
from trioraft.testing.planted import BUGS

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"


def test_every_planted_bug_is_listed() -> None:
    rows = PAGE.read_text(encoding="utf-8").splitlines()
    for bug in BUGS:
        assert f"| `{bug.name}` | {bug.level} | {bug.what} | {bug.seeds:,} |" in rows


def test_every_kind_of_fault_is_named() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = text.partition("Their names, for `simulate(faults=...)`:")[2].split("\n\n")[1]
    assert tuple(re.findall(r"`([^`]+)`", names)) == FAULTS


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert all("writes" in line for line in lines)
