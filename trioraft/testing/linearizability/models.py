"""What the objects are that the checker knows: their state, and which answers fit it.

A model is the sequential specification: given the state before an operation, may the operation
have had its result, and what is the state after it? Models are stateless; states are hashable.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from .history import Operation

__all__ = ["IMPOSSIBLE", "Counter", "ListAppend", "Model"]


class _Impossible:
    def __repr__(self) -> str:
        return "IMPOSSIBLE"


#: What `Model.step` says when the operation cannot have had its result in that state.
IMPOSSIBLE: Final = _Impossible()


class Model:
    """Base of all models. Yours brings `initial`, `step` and, for speed, `is_read`."""

    #: The state of an object that nobody has touched.
    initial: Hashable = None

    def step(self, state: Any, operation: Operation) -> Any:
        """The state after `operation`, or IMPOSSIBLE.

        An operation with `returned` None has no result that it must fit. Raises ValueError
        for an operation that the model does not have.
        """
        raise ValueError(f"{type(self).__name__} has no operation {operation.kind!r}")

    def is_read(self, operation: Operation) -> bool:
        """Whether the operation, with the result it had, leaves every state as it is."""
        return False

    def bind(self, operations: Sequence[Operation]) -> Model:
        """The model for one object whose whole history this is.

        A chance to use what later operations reveal: it may refuse more steps than the
        specification, if only those that no linearization of this history takes.
        """
        return self

    def overwrites(self, operation: Operation) -> bool:
        """Whether the operation fits every state and leaves the same one after each."""
        return False

    def is_unseen(self, operation: Operation) -> bool:
        """Whether it `overwrites`, and nothing else of the history could tell that it happened.

        Only a bound model can know.
        """
        return False

    def explains(self, operation: Operation, seen: Operation) -> bool:
        """Whether `operation` may be where the result of `seen` comes from; only for reports."""
        return bool(operation.argument is not None and operation.argument == seen.result)


class Counter(Model):
    """`add` amount -> the sum after it, or None if the client did not look; `read` -> the sum."""

    initial = 0

    def step(self, state: Any, operation: Operation) -> Any:
        if operation.kind == "read":
            return state if operation.result == state else IMPOSSIBLE
        if operation.kind == "add":
            after = state + operation.argument
            if operation.returned is not None and operation.result not in (None, after):
                return IMPOSSIBLE
            return after
        return super().step(state, operation)

    def is_read(self, operation: Operation) -> bool:
        return operation.kind == "read"


class ListAppend(Model):
    """`append` value -> the length after it, or None; `read` -> the whole list, in order.

    Every appended value must be a different one (ValueError), as then a read tells the order of
    all appends before it. So the search never has to guess an order that a later read refutes:
    its state is but a length, and an append fits only where the longest read has its value.
    """

    initial = 0

    def is_read(self, operation: Operation) -> bool:
        return operation.kind == "read"

    def bind(self, operations: Sequence[Operation]) -> Model:
        appended = [op.argument for op in operations if op.kind == "append"]
        if len(frozenset(appended)) < len(appended):
            raise ValueError("list-append needs a different value in every append")
        reads = [tuple(op.result) for op in operations if op.kind == "read"]
        return _BoundList(max(reads, key=len, default=()))

    def explains(self, operation: Operation, seen: Operation) -> bool:
        if seen.kind != "read" or operation.kind != "append":
            return False
        return operation.argument in seen.result


class _BoundList(ListAppend):
    """A list whose first elements are known to become `longest`."""

    def __init__(self, longest: tuple[Any, ...]) -> None:
        self._longest = longest
        self._place = {value: number for number, value in enumerate(longest)}

    def step(self, state: Any, operation: Operation) -> Any:
        if operation.kind == "read":
            seen = tuple(operation.result)
            fits = len(seen) == state and seen == self._longest[:state]
            return state if fits else IMPOSSIBLE
        if operation.kind == "append":
            after = state + 1
            if self._place.get(operation.argument, max(state, len(self._longest))) != state:
                return IMPOSSIBLE
            if operation.returned is not None and operation.result not in (None, after):
                return IMPOSSIBLE
            return after
        return super().step(state, operation)
