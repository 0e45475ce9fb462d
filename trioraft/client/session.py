"""A client's session: how its calls are numbered, and how many may be under way."""

from __future__ import annotations

import trio

from trioraft.raft.session_ids import MAX_OUTSTANDING, call_id_of
from trioraft.raft.types import Session

__all__ = ["DEFAULT_WINDOW", "CallNumbers"]

#: Calls of one session that may be under way at once, unless told otherwise.
DEFAULT_WINDOW = 256


class CallNumbers:
    """Numbers the calls of the session `client_id`: 1, 2, 3...

    The calls under way lie within `window` numbers, so a call that stays without an answer holds
    up those that come `window` calls later, until it has one or is given up.
    """

    def __init__(self, client_id: bytes, window: int = DEFAULT_WINDOW) -> None:
        assert 0 < window <= MAX_OUTSTANDING
        self.client_id = client_id
        self._window = window
        self._next = 1
        self._open: dict[int, Session] = {}  # lowest number first
        self._room = trio.lowlevel.ParkingLot()

    async def begin(self) -> int:
        """Number a call, once there is room; `end` must follow. Cancelling numbers nothing."""
        while self._next - next(iter(self._open), self._next) >= self._window:
            await self._room.park()
        number, self._next = self._next, self._next + 1
        lowest = next(iter(self._open), number)
        self._open[number] = Session(self.client_id, call_id_of(number, lowest))
        return number

    def session(self, number: int) -> Session:
        """What identifies the call in all its attempts."""
        return self._open[number]

    def end(self, number: int) -> None:
        """The call has its answer, or nobody waits for one any more: it is not sent again."""
        del self._open[number]
        self._room.unpark_all()
