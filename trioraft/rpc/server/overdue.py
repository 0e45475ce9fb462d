"""Deadlines of calls that have no task, and so no cancel scope, of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from .in_place import InPlaceCall

__all__ = ["Overdue"]

#: Seconds between two looks: how late a deadline may be kept.
INTERVAL = 0.25


class Overdue:
    """The open calls of a server that were taken in place, and when each must have its answer.

    One task looks at all of them a few times a second, and sleeps while there is none. A caller
    keeps its own deadline to the point anyway; here it only bounds what the server holds on to.
    """

    def __init__(self) -> None:
        self._calls: dict[InPlaceCall[Any, Any], float] = {}
        self._watching = trio.lowlevel.ParkingLot()

    def watch(self, call: InPlaceCall[Any, Any], at: float) -> None:
        """End `call` at `at` (Trio's clock) unless it is forgotten before. Never waits."""
        self._calls[call] = at
        if self._watching:
            self._watching.unpark_all()

    def forget(self, call: InPlaceCall[Any, Any]) -> None:
        """The call has its answer, or is gone."""
        self._calls.pop(call, None)

    async def run(self) -> None:
        """Runs until cancelled, which ends no call."""
        while True:
            if not self._calls:
                await self._watching.park()
            await trio.sleep(INTERVAL)
            now = trio.current_time()
            late = [call for call, at in self._calls.items() if at <= now]
            for call in late:
                call.overdue()
