"""The time of one group: its driver is woken when the core next has work by the clock."""

from __future__ import annotations

import trio

from trioraft.node.wakeups import Doorbell
from trioraft.raft.core import RaftCore

__all__ = ["Alarm"]


class Alarm:
    """Rings the driver's doorbell when the core's deadline comes.

    A task of its own, because a cancel scope with a deadline in every turn would cost more than
    most turns do. Turns that change the deadline say so by `set`.
    """

    def __init__(self, core: RaftCore, doorbell: Doorbell, clock_rate: float) -> None:
        """clock_rate: seconds that the core's clock counts in one of the event loop's."""
        self._core = core
        self._doorbell = doorbell
        self._clock_rate = clock_rate
        self._ticked = Doorbell()
        self._scope: trio.CancelScope | None = None  # of the wait for the deadline

    async def run(self) -> None:
        """Runs until cancelled; safe at any time."""
        while True:
            with trio.CancelScope(deadline=self._due()) as self._scope:
                await trio.sleep_forever()
            self._scope = None
            self._doorbell.ring()
            await self._ticked.wait()

    def set(self) -> None:
        """A turn is over, and the deadline may be another one. May ring early, never late."""
        if self._scope is None:
            self._ticked.ring()
        elif (due := self._due()) < self._scope.deadline:
            self._scope.deadline = due

    def _due(self) -> float:
        """The core's deadline, on the event loop's clock: rounded up, or it would come too soon."""
        due = self._core.next_deadline / self._clock_rate
        return due if self._clock_rate == 1.0 else due + 1e-9
