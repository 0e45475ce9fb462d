"""A client's session: how it is opened, how its calls are numbered, how many may be under way."""

from __future__ import annotations

import random

import trio

from trioraft._proto.local.node_pb2 import OpenSessionRequest
from trioraft.raft.errors import OverloadedError
from trioraft.raft.session_ids import MAX_OUTSTANDING, call_id_of, client_id_of
from trioraft.raft.types import Session

from .calls import GroupCalls

__all__ = ["DEFAULT_WINDOW", "CallNumbers", "OwnSession"]

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


class OwnSession:
    """Opened before the first write, and again after the group has forgotten it."""

    def __init__(self, calls: GroupCalls, rng: random.Random, window: int) -> None:
        self._calls = calls
        self._rng = rng
        self._window = window
        self._numbers: CallNumbers | None = None
        self._opening = trio.Lock()

    @property
    def client_id(self) -> bytes | None:
        """16 bytes; None while no session is open."""
        return None if self._numbers is None else self._numbers.client_id

    async def open(self, timeout: float | None) -> CallNumbers:
        """The session's numbers. Raises as `GroupCalls.run`."""
        async with self._opening:
            if self._numbers is None:
                request = OpenSessionRequest(group_id=self._calls.group_id)
                reply = await self._calls.call(lambda stub: stub.OpenSession, request, timeout)
                client_id = client_id_of(reply.birth, self._rng.getrandbits(62))
                self._numbers = CallNumbers(client_id, self._window)
            return self._numbers

    async def begin(self, numbers: CallNumbers, timeout: float | None) -> int:
        """Number a call; `numbers.end` must follow.

        Raises OverloadedError if the window has no room for it within `timeout`.
        """
        seconds = self._calls.seconds(timeout)
        with trio.move_on_after(seconds):
            return await numbers.begin()
        raise OverloadedError(
            f"this client has {self._window} calls under way, and none was answered within "
            f"{seconds:g} s"
        )

    def forget(self, numbers: CallNumbers) -> None:
        """The group has forgotten this session: the next call opens another."""
        if self._numbers is numbers:
            self._numbers = None
