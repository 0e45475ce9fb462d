"""Histories for the tests of the checker: drawn by hand, simulated, and judged by brute force."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from trioraft.testing.linearizability import IMPOSSIBLE, Model, Operation

__all__ = ["Perform", "atomic_history", "brute_force", "drawn", "is_linearization", "op"]

#: Given a generator and a number: kind, argument, and what does it at its moment.
Perform = Callable[[random.Random, int], tuple[str, Any, Callable[[], Any]]]


def op(
    process: str,
    start: float,
    end: float | None,
    kind: str,
    argument: Any = None,
    result: Any = None,
    *,
    key: Any = None,
) -> Operation:
    return Operation(
        process=process, key=key, kind=kind, argument=argument, result=result,
        invoked=start, returned=end,
    )  # fmt: skip


def drawn(text: str) -> list[Operation]:
    """A register's history as a drawing: one client per line, columns are time.

    `|w1--|` writes 1, `|r1--|` reads 1 (`r_`: nothing), `|c12-|` changes 1 to 2, `|x12-|` fails
    to; `>` in place of the last `|` is an answer that never came.
    """
    kinds = {"w": "write", "r": "read", "c": "cas", "x": "cas"}
    found = []
    for number, line in enumerate(text.strip("\n").splitlines()):
        start = line.find("|")
        while start >= 0:
            end = min(i for i in (line.find("|", start + 1), line.find(">", start)) if i > 0)
            letter, values = line[start + 1], line[start + 2 : end].strip("- ")
            numbers = tuple(None if value == "_" else int(value) for value in values)
            argument = {"r": None, "w": numbers[0]}.get(letter, numbers)
            result = {"r": numbers[0], "w": None}.get(letter, letter == "c")
            returned = end if line[end] == "|" else None
            found.append(op(f"c{number}", start, returned, kinds[letter], argument, result))
            start = line.find("|", end + 1)
    return found


def is_linearization(order: Sequence[Operation], model: Model) -> bool:
    """Whether operations can have taken effect in this order: by time, and by their results."""
    state = model.initial
    latest = float("-inf")
    for operation in order:
        # Nothing that is ordered before it may have begun after it returned.
        if operation.returned is not None and operation.returned < latest:
            return False
        latest = max(latest, operation.invoked)
        state = model.step(state, operation)
        if state is IMPOSSIBLE:
            return False
    return True


def brute_force(operations: Sequence[Operation], model: Model) -> bool:
    """Every order of every choice of unknown operations, by the definition. Small sizes only."""
    known = [one for one in operations if one.returned is not None]
    unknown = [one for one in operations if one.returned is None]
    return any(
        is_linearization(order, model)
        for size in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, size)
        for order in itertools.permutations([*known, *some])
    )


def atomic_history(
    rng: random.Random, perform: Perform, *, operations: int, clients: int, unknown: float = 0.0
) -> list[Operation]:
    """What clients of a truly atomic object see; unknown: share of answers that get lost.

    A lost operation takes effect as usual, much later, or never.
    """
    free = [0.0] * clients
    pending = []
    for number in range(operations):
        client = min(range(clients), key=lambda c: free[c])
        start = free[client] + rng.uniform(0.01, 1.0)
        effect = start + rng.expovariate(2.0) + 0.001
        end: float | None = effect + rng.expovariate(2.0) + 0.001
        free[client] = effect + 1.0
        kind, argument, act = perform(rng, number)
        if rng.random() < unknown:
            end = None
            effect = rng.choice((effect, effect + rng.uniform(0, 50), float("inf")))
        else:
            free[client] = end or effect
        pending.append((effect, number, client, kind, argument, act, start, end))
    found = []
    for effect, _, client, kind, argument, act, start, end in sorted(pending, key=lambda p: p[:2]):
        result = act() if effect != float("inf") else None
        found.append(op(f"c{client}", start, end, kind, argument, result))
    return sorted(found, key=lambda one: one.invoked)
