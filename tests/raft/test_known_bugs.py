"""docs/known-bugs.md names only stories, tests and planted bugs that there are."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from trioraft.testing.planted import BUGS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "known-bugs.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what happened")
]
PLANTED = {bug.name for bug in BUGS}


@functools.cache
def functions_of(room: str) -> set[str]:
    """The tests in a folder and below it, in whatever file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for path in (ROOT / room).rglob("test_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, functions)
    }


def test_there_are_many() -> None:
    assert len(ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_what_a_row_names_is_there(row: list[str]) -> None:
    _, where, shown = row
    assert re.search(r"#\d+|raft-dev", where), "no source"
    stories = re.findall(r"\[(\d+)\]\(\.\./([^)]+)\)", shown)
    for number, path in stories:
        assert (ROOT / path).is_file()
        assert Path(path).name.startswith(f"{number}_")
    named = re.findall(r"`(tests/[^`]+)::([^`]+)`", shown)
    for room, name in named:
        assert name in functions_of(room)
    planted = re.search(r"planted (.*)", shown)
    bugs = re.findall(r"`([^`]+)`", planted[1]) if planted else []
    assert set(bugs) <= PLANTED
    assert len(re.findall(r"`", shown)) == 2 * (len(named) + len(bugs)), "something else is named"
    assert stories or named


def test_the_page_can_be_found() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "consensus.md"):
        assert "known-bugs.md" in page.read_text(encoding="utf-8")
