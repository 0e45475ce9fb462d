"""One question for all who ask at the same time.

A follower's linearizable reads each need a read index from the leader. Those that come while a
question is on its way share the next one: it begins after all of them, so its answer is good for
all of them, and the leader is asked once per round trip however many reads there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

from trioraft.raft.errors import OverloadedError

from .wakeups import Slot

__all__ = ["SharedRound"]

T = TypeVar("T")


class _Turn:
    """Told to the waiter that carries out the next round."""


_YOUR_TURN = _Turn()


class SharedRound(Generic[T]):
    """Runs `ask` for groups of callers, in the task of one of them, one round at a time.

    limit: callers that may wait, for the round that is on its way and the next one together.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], limit: int = 16_384) -> None:
        self._ask = ask
        self._limit = limit
        self._busy = False
        # Ordered by who waits longest. Who is cancelled leaves them himself.
        self._waiting: dict[Slot[T | _Turn], None] = {}
        self._members: dict[Slot[T | _Turn], None] = {}  # of the round that is on its way
        self._heir: Slot[T | _Turn] | None = None  # was handed the next round

    async def get(self) -> T:
        """The answer of a round that began after this call.

        Raises what `ask` raises, and OverloadedError at the limit. Cancelling is safe: another
        caller carries on the round.
        """
        if self._busy:
            if len(self._waiting) + len(self._members) >= self._limit:
                raise OverloadedError(f"{self._limit} callers wait for the same answer")
            answer = await self._wait()
            if not isinstance(answer, _Turn):
                return answer
        self._busy = True
        self._members, self._waiting = self._waiting, {}
        try:
            result = await self._ask()
        except BaseException as error:
            if isinstance(error, Exception):
                for member in self._members:
                    member.fail(error)
            else:  # cancelled: another caller begins this round again
                self._waiting = self._members | self._waiting
            raise
        else:
            for member in self._members:
                member.resolve(result)
            return result
        finally:
            self._members = {}
            self._hand_over()

    async def _wait(self) -> T | _Turn:
        slot: Slot[T | _Turn] = Slot()
        self._waiting[slot] = None
        try:
            return await slot.wait()
        except trio.Cancelled:
            self._waiting.pop(slot, None)
            self._members.pop(slot, None)
            if slot is self._heir:  # chosen in the very pass in which it was cancelled
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        """Whoever waits longest begins the next round."""
        self._heir = next(iter(self._waiting), None)
        if self._heir is None:
            self._busy = False
        else:
            del self._waiting[self._heir]
            self._heir.resolve(_YOUR_TURN)
