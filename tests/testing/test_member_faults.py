"""What seeds do to the members of a group: set, moved, wiped, kept from standing for election."""

from __future__ import annotations

from collections import Counter

import pytest

from trioraft.machines.counter import CounterMachine
from trioraft.testing.counting import CounterWorkload
from trioraft.testing.simulation import simulate

KINDS = ("members set", "move", "wipe", "election pause")


@pytest.mark.slow
@pytest.mark.parametrize("wire", ["ratis", "openraft"])
def test_each_of_them_happens_and_does_no_harm(wire: str) -> None:
    happened: Counter[str] = Counter()
    for seed in (0, 1, 3):
        outcome = simulate(
            seed,
            new_machine=CounterMachine,
            workload=CounterWorkload(),
            wire=wire,
            faults=KINDS,
            size=3,
            seconds=4.0,
        )
        happened += outcome.faults
        assert outcome.writes > 20
    assert set(happened) == set(KINDS)
