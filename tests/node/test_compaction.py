"""What stays in the log behind a snapshot."""

from __future__ import annotations

import pytest

from trioraft.node import RuntimeSettings
from trioraft.node.snapshots.compaction import keep_after
from trioraft.raft.config import RaftConfig
from trioraft.raft.tracking.progress import Progress, ProgressState

SETTINGS = RuntimeSettings(keep_entries=10, keep_entries_max=100)
PROBE, REPLICATE, SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT


def follower(state: ProgressState, match: int) -> Progress:
    progress = Progress.fresh("f", 1000, RaftConfig(), 0.0)
    progress.state, progress.match_index = state, match
    return progress


@pytest.mark.parametrize(
    ("followers", "expected"),
    [
        ([], 990),
        ([(REPLICATE, 1000)], 990),
        ([(REPLICATE, 995), (REPLICATE, 960)], 960),
        ([(REPLICATE, 5)], 900),  # too slow: it will get a snapshot
        ([(PROBE, 960)], 990),  # away
        ([(SNAPSHOT, -1)], 950),  # it will be where the last snapshot is
    ],
)
def test_the_log_is_kept_for_those_who_answer(
    followers: list[tuple[ProgressState, int]], expected: int
) -> None:
    found = [follower(*each) for each in followers]
    assert keep_after(1000, 950, found, SETTINGS) == expected


def test_a_small_maximum_takes_nothing_away() -> None:
    settings = RuntimeSettings(keep_entries=10, keep_entries_max=0)
    assert keep_after(1000, 950, [follower(REPLICATE, 5)], settings) == 990
