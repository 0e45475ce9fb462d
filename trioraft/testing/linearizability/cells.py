"""Objects that hold one value: a register, and one key of a key-value store.

Where a value is written only once, all that met it form one block in any linearization. The
bound model knows how many there are and lets nothing overwrite a value before all of them have
met it, so that the search learns of a wrong order at once and not thousands of operations
later (the zones of Gibbons and Korach 1997, "Testing shared memories", as a pruning rule).
"""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Sequence
from typing import Any, Final

from .history import Operation
from .models import IMPOSSIBLE, Model

__all__ = ["KeyValue", "Register"]

_NOTHING: Final = object()


class _Cell(Model):
    """What the two have in common. Values are hashable."""

    def met(self, operation: Operation) -> Any:
        """The value that it must have met, given its result; _NOTHING if that is not told."""
        return _NOTHING

    def avoided(self, operation: Operation) -> tuple[Any, ...]:
        """Values that it must not have met, given its result."""
        return ()

    def wanted(self, operation: Operation) -> tuple[Any, ...]:
        """Values that it, of unknown outcome, would have acted on."""
        return ()

    def written(self, operation: Operation) -> tuple[Any, ...]:
        """The values that it may leave."""
        return ()

    def bind(self, operations: Sequence[Operation]) -> Model:
        return _BoundCell(self, operations)

    def explains(self, operation: Operation, seen: Operation) -> bool:
        return self.met(seen) in self.written(operation)


class Register(_Cell):
    """`read` -> value; `write` value; `cas` (old, new) -> whether it was `old`. At first None."""

    def step(self, state: Any, operation: Operation) -> Any:
        kind = operation.kind
        if kind == "read":
            return state if operation.result == state else IMPOSSIBLE
        if kind == "write":
            return operation.argument
        if kind == "cas":
            old, new = operation.argument
            if operation.returned is not None and operation.result != (state == old):
                return IMPOSSIBLE
            return new if state == old else state
        return super().step(state, operation)

    def is_read(self, operation: Operation) -> bool:
        return operation.kind == "read" or (operation.kind == "cas" and _refused(operation))

    def overwrites(self, operation: Operation) -> bool:
        return operation.kind == "write"

    def met(self, operation: Operation) -> Any:
        if operation.returned is None or operation.kind == "write":
            return _NOTHING
        if operation.kind == "cas":
            return operation.argument[0] if operation.result else _NOTHING
        return operation.result

    def avoided(self, operation: Operation) -> tuple[Any, ...]:
        return (
            tuple(operation.argument[:1]) if operation.kind == "cas" and _refused(operation) else ()
        )

    def wanted(self, operation: Operation) -> tuple[Any, ...]:
        if operation.kind == "cas" and operation.returned is None:
            return tuple(operation.argument[:1])
        return ()

    def written(self, operation: Operation) -> tuple[Any, ...]:
        if operation.kind == "cas":
            return () if _refused(operation) else (operation.argument[1],)
        return (operation.argument,) if operation.kind == "write" else ()


def _refused(operation: Operation) -> bool:
    return operation.returned is not None and not operation.result


class KeyValue(_Cell):
    """One key of a store; the state is its value, None without one.

    `get` -> value or None; `put` value; `delete` -> whether there was a value, or None if the
    client did not look; `txn` (expected, then, otherwise) -> (whether the value was `expected`,
    results), where both branches are sequences of ("get",), ("put", value) and ("delete",), and
    the results are those of the branch taken, None for each put.
    """

    def step(self, state: Any, operation: Operation) -> Any:
        kind, known = operation.kind, operation.returned is not None
        if kind == "get":
            return state if operation.result == state else IMPOSSIBLE
        if kind == "put":
            return operation.argument
        if kind == "delete":
            if known and operation.result not in (None, state is not None):
                return IMPOSSIBLE
            return None
        if kind == "txn":
            result, after = _transact(state, *operation.argument)
            return IMPOSSIBLE if known and _tuples(operation.result) != result else after
        return super().step(state, operation)

    def is_read(self, operation: Operation) -> bool:
        if operation.kind == "delete":
            return operation.returned is not None and operation.result is False
        if operation.kind == "txn":
            return operation.returned is not None and all(s[0] == "get" for s in _taken(operation))
        return operation.kind == "get"

    def overwrites(self, operation: Operation) -> bool:
        if operation.kind == "delete":
            return operation.returned is None or operation.result is None
        return operation.kind == "put"

    def met(self, operation: Operation) -> Any:
        if operation.returned is None:
            return _NOTHING
        match operation.kind:
            case "get":
                return operation.result
            case "delete":
                return None if operation.result is False else _NOTHING
            case "txn":
                if operation.result[0]:
                    return operation.argument[0]
                first = next(iter(_taken(operation)), ("put",))[0]
                return operation.result[1][0] if first == "get" else _NOTHING
        return _NOTHING

    def avoided(self, operation: Operation) -> tuple[Any, ...]:
        if operation.returned is None:
            return ()
        if operation.kind == "delete":
            return (None,) if operation.result else ()
        if operation.kind == "txn" and self.met(operation) is _NOTHING:
            return (operation.argument[0],)
        return ()

    def wanted(self, operation: Operation) -> tuple[Any, ...]:
        if operation.kind == "txn" and operation.returned is None:
            return (operation.argument[0],)
        return ()

    def written(self, operation: Operation) -> tuple[Any, ...]:
        if operation.kind == "txn":
            if operation.returned is None:
                branches: tuple[Any, ...] = tuple(operation.argument[1:])
            else:
                branches = (_taken(operation),)
            return tuple(_left(branch) for branch in branches if _left(branch) is not _NOTHING)
        if operation.kind == "delete":
            return (None,)
        return (operation.argument,) if operation.kind == "put" else ()


def _taken(operation: Operation) -> Sequence[Any]:
    """The branch that a transaction says it took."""
    branch: Sequence[Any] = operation.argument[1 if operation.result[0] else 2]
    return branch


def _left(branch: Sequence[Any]) -> Any:
    """The value that a branch leaves; _NOTHING if it leaves what it met."""
    left: Any = _NOTHING
    for step in branch:
        if step[0] != "get":
            left = step[1] if step[0] == "put" else None
    return left


def _transact(
    state: Any, expected: Any, then: Sequence[Any], otherwise: Sequence[Any]
) -> tuple[Any, Any]:
    succeeded = state == expected
    results: list[Any] = []
    for step in then if succeeded else otherwise:
        match tuple(step):
            case ("get",):
                results.append(state)
            case ("put", value):
                results.append(None)
                state = value
            case ("delete",):
                results.append(state is not None)
                state = None
            case _:
                raise ValueError(f"a transaction has no step {step!r}")
    return (succeeded, tuple(results)), state


def _tuples(value: Any) -> Any:
    """Lists as tuples all the way down: what came through JSON is no different."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


class _BoundCell(Model):
    """A cell whose whole history is known. The state is (value, how many have met it so far)."""

    def __init__(self, cell: _Cell, operations: Sequence[Operation]) -> None:
        self._cell = cell
        self.initial = (cell.initial, 0)
        writers = Multiset(value for op in operations for value in cell.written(op))
        met = Multiset(cell.met(op) for op in operations)
        # Values with one writer, and how many must meet each.
        self._due = {
            value: met[value]
            for value, count in writers.items()
            if count == 1 and value != cell.initial
        }
        avoided = frozenset(value for op in operations for value in cell.avoided(op))
        self._wanted = frozenset(value for op in operations for value in cell.wanted(op))
        # A write may matter by ending the time of a value that somebody must not meet. If no
        # such value is ever written, only a first write to the untouched object can matter so;
        # and of those that may happen at any time the earliest is as good as all.
        self._all_matter = any(value in writers for value in avoided)
        self._first: Operation | None = None
        if avoided:
            maybe = [op for op in operations if op.returned is None and self.is_unseen(op)]
            self._first = min(maybe, key=lambda op: op.invoked, default=None)

    def step(self, state: Any, operation: Operation) -> Any:
        value, count = state
        after = self._cell.step(value, operation)
        if after is IMPOSSIBLE:
            return IMPOSSIBLE
        due = self._due.get(value)
        if due is None:
            return after, 0
        if self._cell.met(operation) == value:
            count += 1
        if after == value:
            return value, count
        return (after, 0) if count == due else IMPOSSIBLE

    def is_read(self, operation: Operation) -> bool:
        return self._cell.is_read(operation)

    def overwrites(self, operation: Operation) -> bool:
        return self._cell.overwrites(operation)

    def is_unseen(self, operation: Operation) -> bool:
        if self._all_matter or not self._cell.overwrites(operation):
            return False
        if operation is self._first:
            return False
        values = self._cell.written(operation)
        return all(self._due.get(value) == 0 and value not in self._wanted for value in values)
