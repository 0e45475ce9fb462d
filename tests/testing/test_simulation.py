"""Whole clusters from seeds: nothing acknowledged is lost, and a seed always does the same."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from trioraft.machines.counter import CounterMachine
from trioraft.testing.choices import draw_size
from trioraft.testing.counting import CounterWorkload
from trioraft.testing.faults import FAULTS
from trioraft.testing.simulation import Outcome, simulate, simulate_counter, simulate_kv
from trioraft.testing.trace import Trace

SEEDS = int(os.environ.get("TRIORAFT_SIM_SEEDS", "50"))
CHUNK = 25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_acknowledged_is_lost(first: int) -> None:
    faults: Counter[str] = Counter()
    writes = 0
    for seed in range(first, first + CHUNK):
        trace = Trace()
        try:
            run = simulate_counter if seed % 8 in (0, 1, 6, 7) else simulate_kv
            outcome = run(seed, seconds=4.0, trace=trace)
        except BaseException as error:
            error.add_note(f"seed {seed}; the end of its trace:\n" + "\n".join(trace.lines[-40:]))
            raise
        writes += outcome.writes
        faults += outcome.faults
    assert writes > 20 * CHUNK
    # Runs in which little goes wrong prove little.
    assert faults.total() > 3 * CHUNK
    assert len(faults) >= len(FAULTS) - 4, f"only {', '.join(faults)}"


def simulate_size(seed: int, size: int, faults: Sequence[str]) -> Outcome:
    return simulate(
        seed,
        new_machine=CounterMachine,
        workload=CounterWorkload(),
        faults=faults,
        size=size,
        seconds=3.0,
    )


@pytest.mark.parametrize("size", [1, 2, 4, 5, 7])
def test_groups_of_every_size(size: int) -> None:
    outcomes = [simulate_size(seed, size, FAULTS) for seed in range(3)]
    assert all(outcome.writes > 0 for outcome in outcomes)
    assert sum(outcome.faults.total() for outcome in outcomes) > 3


def test_one_node_alone_has_no_links_to_cut() -> None:
    kinds = ("leader isolated", "link cut", "connection reset", "slow link", "crash")
    outcomes = [simulate_size(seed, 1, kinds) for seed in range(4)]
    assert all(outcome.writes > 0 for outcome in outcomes)
    assert {kind for outcome in outcomes for kind in outcome.faults} == {"crash"}


def test_seeds_choose_the_size() -> None:
    drawn = {draw_size(random.Random(seed)) for seed in range(200)}
    assert drawn == {1, 2, 3, 4, 5, 7}


@pytest.mark.parametrize("wire", ["ratis", "openraft"])
def test_the_same_seed_is_the_same_run(wire: str) -> None:
    first = simulate_kv(7, wire=wire, seconds=3.0)
    second = simulate_kv(7, wire=wire, seconds=3.0)
    assert first == second
    assert first.trace_hash != simulate_kv(8, wire=wire, seconds=3.0).trace_hash
    # Also in a process whose strings hash differently.
    code = (
        "from trioraft.testing.simulation import simulate_kv;"
        f"print(simulate_kv(7, wire={wire!r}, seconds=3.0).trace_hash)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == first.trace_hash
