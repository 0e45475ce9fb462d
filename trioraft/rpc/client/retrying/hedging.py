"""Hedging: several attempts at once, spaced by a delay; the first that is answered counts.

Source: gRFC A6, "Hedging Policy".
"""

from __future__ import annotations

from typing import TypeVar

import trio

from trioraft.rpc.status import GRPCError

from .policy import HedgingPolicy, read_pushback
from .repeated import RepeatedStream

S = TypeVar("S")
R = TypeVar("R")


class HedgedStream(RepeatedStream[S, R]):
    """A call with a `hedgingPolicy`."""

    _scheduled = 0  # attempts, those included whose task has not begun
    _stopped = False  # the server has said that there shall be no more
    _due = 0.0  # when the next one is to be made
    _last: GRPCError | None = None  # how the last attempt has failed

    def _begin(self) -> None:
        self._scheduled = 1
        self._due = trio.current_time() + self._policy.delay
        self._sooner = trio.Event()  # `_due` has changed
        self._start(self._hedge)

    async def _hedge(self) -> None:
        """Task: makes one attempt after the other, as long as there may be more."""
        while self._scheduled < self._policy.max_attempts:
            await self._wait_until_due()
            if not self._another_allowed:
                if self._last is not None and not self._under_way:
                    self.give_up(self._last)  # it failed while there could still be another
                return
            self._scheduled += 1
            self._due = trio.current_time() + self._policy.delay
            self._start_attempt()

    async def _wait_until_due(self) -> None:
        while not self._stopped and (wait := self._due - trio.current_time()) > 0:
            self._sooner = trio.Event()
            with trio.move_on_after(wait):
                await self._sooner.wait()

    @property
    def _policy(self) -> HedgingPolicy:
        policy = self._plan.policy
        assert isinstance(policy, HedgingPolicy)
        return policy

    @property
    def _another_allowed(self) -> bool:
        """Whether another attempt may be made."""
        throttle = self._plan.shared.throttle
        if self._stopped or self._scheduled >= self._policy.max_attempts:
            return False
        return throttle is None or throttle.allows

    def _another(self, error: GRPCError, pushback: bytes | None) -> bool:
        throttle = self._plan.shared.throttle
        wait = read_pushback(pushback)
        stop = wait is not None and wait < 0
        fatal = error.status not in self._policy.non_fatal
        if throttle is not None and (stop or not fatal):
            throttle.failed()
        if fatal:
            return False
        self._last = error
        self._stopped = self._stopped or stop
        self._due = trio.current_time() + (wait or 0.0)
        self._sooner.set()
        return self._another_allowed or self._under_way

    @property
    def _under_way(self) -> bool:
        """Whether there is any attempt that has not failed."""
        return self._coming > 0 or bool(self._open_attempts)
