"""How many handlers run on a whole server at once.

Counting them one by one in one place would cost every call. Connections get allowances instead,
a portion at a time, and only ask for more at the end of one. What a connection does not use
stays with it until there is nothing else to give.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import trio

__all__ = ["Budget"]

#: Handlers that a connection gets leave for at once.
PORTION = 16
#: Seconds between two rounds of collecting what connections do not use, if they are many.
COLLECT_EVERY = 0.05
MANY = 100


class Spender(Protocol):
    """A connection."""

    allowance: int
    running: int


class Budget:
    """`total` handlers at once, never more. `spenders` are the connections that are open."""

    def __init__(self, total: int, spenders: Collection[Spender]) -> None:
        self._free = total
        self._spenders = spenders
        self._next_collection = float("-inf")

    def ask(self, spender: Spender) -> bool:
        """One more handler than its allowance: raise that, or say no."""
        if not self._free:
            self._collect()
        portion = min(PORTION, self._free)
        self._free -= portion
        spender.allowance += portion
        return portion > 0

    def give_back(self, spender: Spender) -> None:
        """A connection has ended, and its handlers with it."""
        self._free += spender.allowance
        spender.allowance = 0

    def _collect(self) -> None:
        """Take what is not used; among many not for every call that is refused.

        So with few connections a call is refused only if all handlers are in use; with many, what
        somebody has stopped using may take that long to get to somebody else.
        """
        now = trio.current_time()
        if len(self._spenders) > MANY and now < self._next_collection:
            return
        self._next_collection = now + COLLECT_EVERY
        for spender in self._spenders:
            spare = spender.allowance - spender.running
            if spare > 0:
                spender.allowance -= spare
                self._free += spare
