"""Bugs planted on purpose are found: a simulator that sees nothing must be able to see."""

from __future__ import annotations

import os

import pytest

from trioraft.testing.planted import BUGS, PlantedBug
from trioraft.testing.seeds import Options, replay

EVERYTHING = os.environ.get("TRIORAFT_PLANTED_BUGS") == "all"
# Found within a second or two. `make sim` looks for all of them, and so do these tests if asked.
QUICK = {
    "acknowledge-before-disk", "acknowledge-early", "apply-uncommitted", "count-old-terms",
    "count-unsynced", "forget-vote", "forget-votes", "keep-conflicts", "never-sync",
    "read-at-once", "vote-twice", "watch-too-soon",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "bug",
    [pytest.param(bug, id=bug.name) for bug in BUGS if EVERYTHING or bug.name in QUICK],
)
def test_it_is_found(bug: PlantedBug) -> None:
    options = Options(level=bug.level, plant=bug.name, seconds=4.0)
    for seed in range(bug.seeds):
        report, _ = replay(seed, options)
        if report.failures:
            return
    pytest.fail(f"{bug.name}: {bug.seeds} seeds did not notice: {bug.what}")


def test_a_bug_is_gone_after_its_block() -> None:
    for bug in BUGS:
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in bug.patches()]
        with bug.planted():
            assert all(getattr(owner, name) is not honest for owner, name, honest in before)
        assert all(getattr(owner, name) is honest for owner, name, honest in before)
