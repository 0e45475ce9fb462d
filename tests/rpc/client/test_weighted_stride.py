"""The stride scheduler: shares, spread, and what it takes."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from math import ceil, floor

from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.rpc.client.balancing.stride import Stride

WEIGHTS = st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=12)


def rounds(stride: Stride, weights: list[float], count: int) -> Counter[int]:
    """Pick until the heaviest has had so many turns, it being the one that has one per round."""
    heaviest = weights.index(max(weights))
    picked: Counter[int] = Counter()
    while picked[heaviest] < count:
        picked[stride.pick()] += 1
    return picked


@settings(deadline=None)
@given(WEIGHTS, st.integers(1, 200), st.integers())
def test_shares_are_the_weights(weights: list[float], count: int, seed: int) -> None:
    picked = rounds(Stride(weights, random.Random(seed)), weights, count)
    for index, weight in enumerate(weights):
        # The last round, and the first, may lack those after and before the heaviest one.
        due = count * weight / max(weights)
        assert floor(due) - 1 <= picked[index] <= ceil(due) + 1


@settings(deadline=None)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=6), st.integers())
def test_turns_are_spread(weights: list[int], seed: int) -> None:
    """Between two turns of one there are at most the rounds that its weight makes it wait for."""
    stride = Stride([float(weight) for weight in weights], random.Random(seed))
    last = dict.fromkeys(range(len(weights)), 0)
    for turn in range(1, 400):
        picked = stride.pick()
        most = (ceil(max(weights) / weights[picked]) + 1) * len(weights)
        assert turn - last[picked] <= most
        last[picked] = turn
    assert min(last.values()) > 400 - 9 * len(weights) - len(weights)


def test_equal_weights_are_round_robin() -> None:
    stride = Stride([1.0] * 4, random.Random(3))
    turns = [stride.pick() for _ in range(12)]
    assert turns[:4] == turns[4:8] == turns[8:]
    assert sorted(turns[:4]) == [0, 1, 2, 3]
    assert all(after == (before + 1) % 4 for before, after in pairwise(turns))


def test_the_same_randomness_gives_the_same_turns() -> None:
    def turns(seed: int) -> list[int]:
        stride = Stride([1.0, 2.0, 5.0], random.Random(seed))
        return [stride.pick() for _ in range(50)]

    assert turns(1) == turns(1)
    assert len({tuple(turns(seed)) for seed in range(20)}) > 10


@settings(deadline=None)
@given(st.integers())
def test_new_weights_take_nothing_from_anybody(seed: int) -> None:
    """Weights that are set again before each pick give the same turns as those that stay."""
    kept, again = (Stride([3.0, 1.0, 2.0], random.Random(seed)) for _ in range(2))
    for _ in range(60):
        again.reweigh([6.0, 2.0, 4.0])
        assert again.pick() == kept.pick()


def test_a_change_of_weights_counts_from_the_next_pick() -> None:
    stride = Stride([1.0, 1.0], random.Random(1))
    stride.reweigh([1.0, 4.0])
    picked = Counter(stride.pick() for _ in range(100))
    assert abs(picked[1] - 80) <= 1
