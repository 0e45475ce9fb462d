"""The search for an order that explains everything: just-in-time linearization with memory.

Wing and Gong (1993) try orders by backtracking; Lowe (2017, "Testing for linearizability") adds
that a configuration which failed once need not be tried again, and that no operation need take
effect before some operation's return forces it ("just in time"). More things keep
histories of thousands of operations cheap:

- The search goes from return to return. A configuration is the state together with those open
  operations that have taken effect already; everything that has returned has.
- At a return it tries few additional effects before many, and lets reads that fit the state
  happen at once, as they can only get in the way later.
- An operation of unknown outcome need never take effect, so of two configurations with the same
  state the one that has used up fewer of them can do all that the other can.
- Of those that asked the same the one that was invoked first can do all that the others can.
- Writes that nobody can tell from not having happened (`Model.is_unseen`) happen just before
  any other operation that overwrites them anyway: this, too, can only help.
- Operations that have no answer and that nobody can tell from not having happened are dropped.
- A bound model may know from later answers that a step leads nowhere.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .history import Operation
from .models import IMPOSSIBLE, Model

__all__ = ["Search", "SearchLimitError", "search"]


class SearchLimitError(Exception):
    """Too many steps were tried; nothing is known about the history."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found about one object.

    Attributes:
        order: A linearization, if there is one: operations in the order of their effects. Those
            of unknown outcome that need not have happened are not in it.
        stuck: Otherwise the operation whose return no order of the history up to it explains.
        steps: How much was tried.
    """

    order: tuple[Operation, ...] | None
    stuck: Operation | None
    steps: int


@dataclass(slots=True)
class _Return:
    """An operation's return, with the operations that were open just before it."""

    number: int  # of the operation
    reads: list[int]
    unseen: list[int]
    others: list[int]  # in the order in which they are tried


# A configuration: state; effects of open operations, as bits; operations added by the last step.
_Config = tuple[Any, int, int, tuple[int, ...]]


def search(operations: Sequence[Operation], model: Model, *, limit: int = 5_000_000) -> Search:
    """Look for a linearization of one object's history.

    limit: Most steps of the model (about a million a second) before SearchLimitError.
    Raises ValueError for operations that the model does not have.
    """
    return _Search(operations, model, limit).run()


class _Search:
    def __init__(self, operations: Sequence[Operation], model: Model, limit: int) -> None:
        useful = [op for op in operations if op.returned is not None or not model.is_read(op)]
        model = self._model = model.bind(useful)
        kept = [op for op in useful if op.returned is not None or not model.is_unseen(op)]
        self._ops = sorted(kept, key=lambda op: op.invoked)
        self._reads = [model.is_read(op) for op in self._ops]
        self._unseen = [model.is_unseen(op) for op in self._ops]
        self._overwrites = [model.overwrites(op) for op in self._ops]
        self._bits, self._unknown = self._assign_bits()
        self._twins = self._find_twins()
        self._returns = list(self._list_returns())
        self._limit = limit
        self._steps = 0
        # For each return, by state and effects: the smallest sets of unknowns used so far.
        self._seen: list[dict[tuple[Any, int], list[int]]] = [{} for _ in self._returns]

    def _assign_bits(self) -> tuple[list[int], list[bool]]:
        """A bit for each operation: its own if it stays open, else one that is free meanwhile."""
        unknown = [op.returned is None for op in self._ops]
        bits = [0] * len(self._ops)
        free: list[int] = []
        width = asked = 0
        events = [(op.invoked, 0, number) for number, op in enumerate(self._ops)]
        events += [(op.returned, 1, n) for n, op in enumerate(self._ops) if op.returned is not None]
        for _, returns, number in sorted(events):
            if unknown[number]:
                bits[number] = 1 << asked
                asked += 1
            elif returns:
                free.append(bits[number])
            else:
                if not free:
                    free.append(1 << width)
                    width += 1
                bits[number] = free.pop()
        return bits, unknown

    def _find_twins(self) -> list[int]:
        """For each operation of unknown outcome the bit of the one before that asked the same."""
        newest: dict[tuple[str, Any], int] = {}
        twins = [0] * len(self._ops)
        for number, operation in enumerate(self._ops):
            if self._unknown[number]:
                asked = (operation.kind, operation.argument)
                twins[number] = newest.get(asked, 0)
                newest[asked] = self._bits[number]
        return twins

    def _list_returns(self) -> Iterator[_Return]:
        """All returns in the order of time."""
        order = [(op.returned, n) for n, op in enumerate(self._ops) if op.returned is not None]
        open_: dict[int, None] = {}
        begun = 0
        for returned, number in sorted(order):
            while begun < len(self._ops) and self._ops[begun].invoked <= returned:
                open_[begun] = None
                begun += 1
            reads = [n for n in open_ if self._reads[n]]
            unseen = [n for n in open_ if self._unseen[n]]
            others = [n for n in open_ if not self._reads[n] and n != number]
            # What returns soonest must take effect soonest; the unknown may never.
            others.sort(key=self._urgency)
            yield _Return(number, reads, unseen, others)
            del open_[number]

    def _urgency(self, number: int) -> tuple[float, int]:
        returned = self._ops[number].returned
        return math.inf if returned is None else returned, number

    def run(self) -> Search:
        start: _Config = (self._model.initial, 0, 0, ())
        path: list[_Config] = [start]
        stack: list[Iterator[_Config]] = []
        furthest = 0
        while len(stack) < len(self._returns):
            furthest = max(furthest, len(stack))
            state, known, unknown, _ = path[-1]
            stack.append(self._explain(self._returns[len(stack)], state, known, unknown))
            while stack and not self._advance(stack, path):
                stack.pop()
                path.pop()
            if not stack:
                return self._failure(furthest)
        order = tuple(self._ops[number] for config in path for number in config[3])
        return Search(order=order, stuck=None, steps=self._steps)

    def _advance(self, stack: list[Iterator[_Config]], path: list[_Config]) -> bool:
        """Take the next untried explanation of the return on top."""
        depth = len(stack)
        for config in stack[-1]:
            if depth == len(self._returns) or _is_new(self._seen[depth], *config[:3]):
                path.append(config)
                return True
        return False

    def _failure(self, furthest: int) -> Search:
        stuck = self._ops[self._returns[furthest].number]
        return Search(order=None, stuck=stuck, steps=self._steps)

    def _explain(self, event: _Return, state: Any, known: int, unknown: int) -> Iterator[_Config]:
        """Configurations with the returning operation's effect in them, fewest effects first."""
        own = self._bits[event.number]
        state, known, added = self._read_all(event, state, known, ())
        if known & own:
            yield state, known ^ own, unknown, added
            return
        seen: dict[tuple[Any, int], list[int]] = {}
        queue: deque[_Config] = deque([(state, known, unknown, added)])
        while queue:
            config = queue.popleft()
            for number in (event.number, *event.others):
                after = self._take(event, config, number)
                if after is None or not _is_new(seen, *after[:3]):
                    continue
                state, known, unknown, added = after
                if known & own:
                    yield state, known ^ own, unknown, added
                else:
                    queue.append(after)

    def _take(self, event: _Return, config: _Config, number: int) -> _Config | None:
        """Let an open operation take effect, and with it what can only get in the way later."""
        state, known, unknown, added = config
        bit, is_unknown = self._bits[number], self._unknown[number]
        if self._reads[number] or (unknown if is_unknown else known) & bit:
            return None
        if is_unknown and self._twins[number] & ~unknown:
            return None
        after = self._step(state, number)
        if after is IMPOSSIBLE or (is_unknown and after == state):
            return None
        if self._overwrites[number]:
            for other in event.unseen:
                if not known & self._bits[other] and other != number:
                    known |= self._bits[other]
                    added = (*added, other)
        added = (*added, number)
        if is_unknown:
            unknown |= bit
        else:
            known |= bit
        after, known, added = self._read_all(event, after, known, added)
        return after, known, unknown, added

    def _read_all(
        self, event: _Return, state: Any, known: int, added: tuple[int, ...]
    ) -> tuple[Any, int, tuple[int, ...]]:
        """Let all open reads happen that fit the state."""
        for number in event.reads:
            bit = self._bits[number]
            if not known & bit:
                after = self._step(state, number)
                if after is not IMPOSSIBLE:
                    state = after
                    known |= bit
                    added = (*added, number)
        return state, known, added

    def _step(self, state: Any, number: int) -> Any:
        self._steps += 1
        if self._steps > self._limit:
            raise SearchLimitError(f"undecided after {self._limit:,} steps")
        return self._model.step(state, self._ops[number])


def _is_new(seen: dict[tuple[Any, int], list[int]], state: Any, known: int, unknown: int) -> bool:
    """Whether no configuration that can do as much was met before; remembers this one."""
    sets = seen.setdefault((state, known), [])
    if any(smaller & unknown == smaller for smaller in sets):
        return False
    sets[:] = [other for other in sets if other & unknown != unknown]
    sets.append(unknown)
    return True
