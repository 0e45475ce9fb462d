"""How a client's call keeps its deadline."""

from __future__ import annotations

from math import inf
from typing import TypeVar

import trio

from trioraft.rpc.scopes import effective_deadline
from trioraft.rpc.status import GRPCError, Status

from .answer import AnsweredCall

S = TypeVar("S")
R = TypeVar("R")

DEADLINE_EXCEEDED = "deadline exceeded"


class TimedCall(AnsweredCall[S, R]):
    """The part of a `ClientStream` that ends it in time. Internal.

    A cancel scope around a call's block ends whatever the block waits for. A block that waits for
    the call and nothing else can do without, at a tenth of the cost: one of the channel's timers
    fails the call, and that wakes whoever waits for it.
    """

    #: Whether the block waits for nothing but the call. To be said before it begins.
    waits_alone: bool = False
    _timer = False  # one of the channel's is set
    _scope: trio.CancelScope | None = None
    _reopening: trio.CancelScope | None = None  # around the task that opens another stream

    def _begin_clock(self) -> None:
        """Watch over the call's deadline. It has one."""
        assert self.deadline is not None
        if self.waits_alone:
            self._timer = True
            self._channel.timers.watch(self, self.deadline.at)
        else:
            self._scope = trio.CancelScope(deadline=self.deadline.at)
            self._scope.__enter__()

    def _stop_timer(self) -> None:
        self._timer = False
        self._channel.timers.forget(self)

    def _prefer_scope(self) -> None:
        """The call is about to wait for something that its failure does not end."""
        if self._timer:
            self._stop_timer()
            self.waits_alone = False
            self._begin_clock()

    def due(self, now: float) -> float:
        """The timer: the deadline has passed."""
        self._timer = False
        if self._failure is None and not self._got_trailers:
            self._failure = GRPCError(Status.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED)
            if self._reopening is not None:
                self._reopening.cancel()
            self._reset()
            self._wake_reader()
        return inf

    # ---- what servers are told ---------------------------------------------------------------

    def _time_limit(self) -> float:
        """When the call is over, by its own deadline or by scopes around; minus infinity in a
        cancelled scope."""
        at = effective_deadline()
        if self.deadline is not None and self.deadline.at < at:
            return self.deadline.at
        return at

    @property
    def _own_limit(self) -> float:
        """The call's own deadline; infinity if it has none."""
        return inf if self.deadline is None else self.deadline.at

    @property
    def _expired(self) -> bool:
        return self.deadline is not None and self.deadline.time_remaining() <= 0
