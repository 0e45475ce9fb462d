"""What clients did and what they were told: the material that the checker judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio

__all__ = ["Call", "History", "Operation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of one client on one object.

    Attributes:
        process: Who called; only for the eye.
        key: The object; objects are judged one by one (linearizability is local: Herlihy and
            Wing 1990, theorem 1).
        kind: What was asked, in the words of the model: `read`, `write`, `append`...
        argument: With what, hashable; None if the kind takes nothing.
        result: What was answered; without meaning while `returned` is None.
        invoked: When the call began, in seconds of any clock that all processes share.
        returned: When the answer arrived. None if none ever did: the operation may have taken
            effect at any time since `invoked`, or may do so later, or never.
    """

    process: Hashable
    key: Hashable = None
    kind: str
    argument: Any = None
    result: Any = None
    invoked: float
    returned: float | None

    def __post_init__(self) -> None:
        if self.returned is not None and self.returned <= self.invoked:
            raise ValueError(f"an operation takes time: {self}")


class Call:
    """A call under way; see `History.call`."""

    __slots__ = ("_discarded", "_finished", "_history", "operation")

    def __init__(self, history: History, operation: Operation) -> None:
        self._history = history
        self._finished = False
        self._discarded = False
        self.operation = operation

    def ok(self, result: Any = None) -> None:
        """The answer has arrived."""
        self._finish()
        begun = self.operation
        self.operation = Operation(
            process=begun.process,
            key=begun.key,
            kind=begun.kind,
            argument=begun.argument,
            result=result,
            invoked=begun.invoked,
            returned=self._history.now(),
        )

    def failed(self) -> None:
        """The call certainly had no effect, and never will: it is left out of the history."""
        self._finish()
        self._discarded = True

    @property
    def counts(self) -> bool:
        """Whether the call is part of the history."""
        return not self._discarded

    def _finish(self) -> None:
        if self._finished:
            raise RuntimeError(f"{self.operation} has ended already")
        self._finished = True


class History:
    """Records operations as they happen, from any number of tasks of one process.

    clock: Seconds; by default `trio.current_time`, so virtual time in a simulation. Times are
    made to differ: what is recorded first has the smaller one even if the clock stood still.
    limit: Most operations that are kept; one more raises OverflowError.
    """

    def __init__(self, clock: Callable[[], float] | None = None, *, limit: int = 1_000_000) -> None:
        self._clock = clock or trio.current_time
        self._last = -math.inf
        self._limit = limit
        self._calls: list[Call] = []

    @contextmanager
    def call(
        self, process: Hashable, kind: str, argument: Any = None, *, key: Hashable = None
    ) -> Iterator[Call]:
        """Around a call. In the block say `ok(result)` when its answer is there, or `failed()`.

        A block that is left without either, by an exception or by cancellation too, leaves an
        operation whose outcome is unknown: right after a deadline or a broken connection.
        """
        yield self.begin(process, kind, argument, key=key)

    def begin(
        self, process: Hashable, kind: str, argument: Any = None, *, key: Hashable = None
    ) -> Call:
        """The same without a block: its outcome is unknown until something is said."""
        if len(self._calls) >= self._limit:
            raise OverflowError(f"the history is full: {self._limit} operations")
        operation = Operation(
            process=process,
            key=key,
            kind=kind,
            argument=argument,
            invoked=self.now(),
            returned=None,
        )
        call = Call(self, operation)
        self._calls.append(call)
        return call

    def now(self) -> float:
        """The clock, but later than ever before."""
        self._last = max(self._clock(), math.nextafter(self._last, math.inf))
        return self._last

    @property
    def operations(self) -> list[Operation]:
        """Everything so far in the order of invocation; calls under way as unknown."""
        return [call.operation for call in self._calls if call.counts]

    def __len__(self) -> int:
        return len(self._calls)
