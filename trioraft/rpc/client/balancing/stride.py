"""Turns in proportion to weights, evenly spread: each pick costs a few additions, no sorting.

A stride scheduler: in each round every candidate is credited its share of the heaviest one's
weight, and is picked as its credit reaches one. The heaviest is picked in every round, so a pick
looks at each candidate at most once; on average at (heaviest / mean) of them. Whatever is left of
a credit stays, also when weights change, so that shares come out right however seldom picks are.
Sources: gRPC proposal A58, whose scheduler this takes the place of; Waldspurger and Weihl, "Stride
Scheduling" (MIT/LCS/TM-528).
"""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["Stride"]


class Stride:
    """Indexes of candidates, in turn.

    Of any number of full rounds of a candidate whose weight is `w`, the heaviest one's being `h`,
    it is picked in `w / h` of them, less than one off.
    """

    __slots__ = ("_credits", "_steps", "_turn")

    def __init__(self, weights: Sequence[float], rng: random.Random) -> None:
        """As `reweigh`. rng: where the first round begins, so that many clients spread."""
        self._turn = rng.randrange(len(weights))
        self._credits = [rng.random() for _ in weights]
        self._steps: list[float] = []
        self.reweigh(weights)

    def reweigh(self, weights: Sequence[float]) -> None:
        """Other weights for the same candidates: as many, each finite and above zero."""
        heaviest = max(weights)
        self._steps = [weight / heaviest for weight in weights]

    def pick(self) -> int:
        """The index of the next candidate."""
        steps, credits_ = self._steps, self._credits
        turn = self._turn
        while True:
            turn += 1
            if turn >= len(steps):
                turn = 0
            credit = credits_[turn] + steps[turn]
            if credit >= 1.0:
                credits_[turn] = credit - 1.0
                self._turn = turn
                return turn
            credits_[turn] = credit
