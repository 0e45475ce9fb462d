"""How much of something a peer may do: so much at once, so much per second for ever."""

from __future__ import annotations


class Budget:
    """A token bucket on a clock that is handed in."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float) -> None:
        """`burst` at once, and `rate` per second that fill it up again."""
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at: float | None = None

    def spend(self, now: float) -> bool:
        """Take one at `now`, in seconds on a clock that never goes back; whether there was one."""
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
