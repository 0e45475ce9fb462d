"""Bugs planted on purpose are found: a simulator that sees nothing must be able to see."""

from __future__ import annotations

import os

import pytest

from trioraft.testing.planted import BUGS, PlantedBug
from trioraft.testing.seeds import Options, run_seeds

EVERYTHING = os.environ.get("TRIORAFT_PLANTED_BUGS") == "all"
QUICK = 200  # bugs that need more seeds are looked for when all of them are asked for


@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(
            bug,
            id=bug.name,
            marks=pytest.mark.skipif(
                not EVERYTHING and (bug.level == "stack" or bug.seeds > QUICK),
                reason="needs many seeds: `make sim` looks for it",
            ),
        )
        for bug in BUGS
    ],
)
def test_it_is_found(bug: PlantedBug) -> None:
    options = Options(level=bug.level, plant=bug.name)
    tried = 0
    for report in run_seeds(0, bug.seeds, options):
        tried += report.seeds
        if report.failures:
            return
    pytest.fail(f"{bug.name}: {tried} seeds did not notice: {bug.what}")


def test_a_bug_is_gone_after_its_block() -> None:
    for bug in BUGS:
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in bug.patches()]
        with bug.planted():
            assert all(getattr(owner, name) is not honest for owner, name, honest in before)
        assert all(getattr(owner, name) is honest for owner, name, honest in before)
