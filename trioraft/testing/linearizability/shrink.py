"""The few operations of a failing history that show why it fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .history import Operation
from .models import Model
from .search import SearchLimitError, search

__all__ = ["Excerpt", "first_failure", "shrink"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A part of a history that cannot be linearized whatever the rest of it did.

    Attributes:
        essential: Operations none of which can be spared, in the order of invocation.
        origins: Others, from which results of essential ones may come. The history fails even
            if each of these took effect at any other time after its invocation, or never.
    """

    essential: tuple[Operation, ...]
    origins: tuple[Operation, ...]


def first_failure(
    operations: Sequence[Operation], stuck: Operation, model: Model, *, limit: int
) -> Operation:
    """The operation whose return ends the shortest prefix of one object's history that fails.

    Usually that is where the search got stuck. But a model that looks ahead (`Model.bind`) sees
    an operation refuted by a later one, and then it is the later one.
    """
    returns = sorted(
        (op for op in operations if op.returned is not None and _end(op) >= _end(stuck)), key=_end
    )
    low, high = 0, len(returns) - 1  # the prefix that ends with `high` fails
    middle = low
    try:
        while low < high:
            prefix = _prefix(operations, _end(returns[middle]))
            if search(prefix, model, limit=limit).order is None:
                high = middle
            else:
                low = middle + 1
            middle = (low + high) // 2
    except SearchLimitError:
        return returns[high]
    return returns[high]


def _end(operation: Operation) -> float:
    return math.inf if operation.returned is None else operation.returned


def _prefix(operations: Sequence[Operation], end: float) -> list[Operation]:
    """What was known at a moment: no later calls, no later answers."""
    return [
        op if _end(op) <= end else replace(op, returned=None)
        for op in sorted(operations, key=lambda op: op.invoked)
        if op.invoked <= end
    ]


def shrink(
    operations: Sequence[Operation], stuck: Operation, model: Model, *, limit: int = 300_000
) -> Excerpt:
    """Find such a part in one object's history that fails at `stuck`, its `first_failure`.

    It asks less and less of the history for as long as it still fails: reads are left out, of
    other operations it is forgotten when they returned and with what (leaving them out would ask
    more, as a value that somebody read could have no origin). The result is minimal unless
    `limit`, the number of the model's steps for all of it, ends the search early.
    """
    trial = _Trial(_prefix(operations, _end(stuck)), stuck, model, limit)
    prefix = trial.prefix
    bound = trial.reduce()
    essential = [prefix[n] for n in bound]
    kept = sorted([*essential, stuck], key=lambda op: op.invoked)
    origins = [
        op
        for n, op in enumerate(prefix)
        if n not in bound and op != stuck and not model.is_read(op)
        if any(model.explains(op, seen) for seen in kept)
    ]
    return Excerpt(essential=tuple(kept), origins=tuple(origins))


class _Trial:
    """Asks again and again whether the history still fails when less is asked of it."""

    def __init__(self, prefix: list[Operation], stuck: Operation, model: Model, limit: int) -> None:
        self.prefix = prefix
        self._stuck = stuck
        self._model = model
        self._left = limit

    def reduce(self) -> list[int]:
        """The numbers of the operations that must be held to their answers, but for `stuck`."""
        every = [
            number
            for number, op in enumerate(self.prefix)
            if op.returned is not None and op != self._stuck
        ]
        every.sort(key=lambda number: _end(self.prefix[number]))
        bound = every
        try:
            # What refutes an answer is most often near: ask for the newest 1, 2, 4, 8...
            size = 1
            while size < len(every):
                if self._fails(every[-size:]):
                    bound = every[-size:]
                    break
                size *= 2
            size = max(len(bound) // 2, 1)
            while bound:
                bound = self._without_chunks(bound, size)
                if size == 1:
                    break
                size //= 2
        except SearchLimitError:
            pass  # not minimal, but it fails: `bound` changes only to what was seen to
        return sorted(bound)

    def _without_chunks(self, bound: list[int], size: int) -> list[int]:
        """Leave out any `size` neighbours that can be spared (delta debugging)."""
        start = 0
        while start < len(bound):
            fewer = bound[:start] + bound[start + size :]
            if self._fails(fewer):
                bound = fewer
            else:
                start += size
        return bound

    def _fails(self, bound: list[int]) -> bool:
        kept = frozenset(bound)
        relaxed = [
            op if number in kept or op == self._stuck else replace(op, returned=None)
            for number, op in enumerate(self.prefix)
            if number in kept or op == self._stuck or not self._model.is_read(op)
        ]
        found = search(relaxed, self._model, limit=self._left)
        self._left -= found.steps
        return found.order is None
