"""Pauses between attempts, as gRPC's connection backoff has them.

Attempts are spaced by their *starts*: an attempt that has taken longer than its pause is followed
by the next at once. Source: gRPC Connection Backoff Protocol (connection-backoff.md).
"""

from __future__ import annotations

import random

__all__ = ["Backoff"]

_GROWTH = 1.6
_JITTER = 0.2


class Backoff:
    """When the next attempt may start, growing by 1.6 per failure, with 20% jitter either way.

    The first pause has no jitter, as the document has it.
    """

    def __init__(self, initial: float, longest: float, rng: random.Random) -> None:
        """initial, longest: seconds, before jitter."""
        self._initial = initial
        self._longest = longest
        self._rng = rng
        self._pause = 0.0

    def begin(self, now: float) -> float:
        """An attempt starts now; returns when the one after it may, should it fail."""
        if not self._pause:
            self._pause = self._initial
            return now + self._pause
        self._pause = min(self._pause * _GROWTH, self._longest)
        return now + self._pause * self._rng.uniform(1 - _JITTER, 1 + _JITTER)

    def reset(self) -> None:
        """The server was reached: begin with the shortest pause again."""
        self._pause = 0.0
