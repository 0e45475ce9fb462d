"""Random histories: those of atomic objects pass; mutated ones get the verdict of brute force."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lin_kit import Perform, atomic_history, brute_force, is_linearization

from trioraft.testing.linearizability import (
    IMPOSSIBLE,
    Counter,
    KeyValue,
    ListAppend,
    Model,
    Operation,
    Register,
    check,
)
from trioraft.testing.linearizability.search import search


def register(values: int | None) -> Perform:
    """Reads, writes and compare-and-set of few values, or of different ones (None)."""
    held: list[Any] = [None]

    def cas(old: Any, new: Any) -> bool:
        if held[0] != old:
            return False
        held[0] = new
        return True

    def perform(rng: random.Random, number: int) -> tuple[str, Any, Callable[[], Any]]:
        new = number if values is None else rng.randrange(values)
        choice = rng.random()
        if choice < 0.5:
            return "read", None, lambda: held[0]
        if choice < 0.8:
            return "write", new, lambda: held.__setitem__(0, new)
        old = rng.choice((held[0], rng.randrange(number + 1)))
        return "cas", (old, new), lambda: cas(old, new)

    return perform


def key_value(values: int | None) -> Perform:
    held: list[Any] = [None]

    def delete() -> bool:
        had, held[0] = held[0] is not None, None
        return had

    def txn(expected: Any, new: Any) -> tuple[bool, tuple[Any, ...]]:
        if held[0] != expected:
            return False, (held[0],)
        held[0] = new
        return True, (None,)

    def perform(rng: random.Random, number: int) -> tuple[str, Any, Callable[[], Any]]:
        new = number if values is None else rng.randrange(values)
        choice = rng.random()
        if choice < 0.4:
            return "get", None, lambda: held[0]
        if choice < 0.7:
            return "put", new, lambda: held.__setitem__(0, new)
        if choice < 0.8:
            return "delete", None, delete
        expected = held[0]
        return "txn", (expected, (("put", new),), (("get",),)), lambda: txn(expected, new)

    return perform


def counter(values: int | None) -> Perform:
    total = [0]

    def add(amount: int, look: bool) -> int | None:
        total[0] += amount
        return total[0] if look else None

    def perform(rng: random.Random, number: int) -> tuple[str, Any, Callable[[], Any]]:
        amount, look = rng.randrange(1, 4), values is None or rng.random() < 0.5
        if rng.random() < 0.4:
            return "read", None, lambda: total[0]
        return "add", amount, lambda: add(amount, look)

    return perform


def list_append(values: int | None) -> Perform:
    items: list[int] = []

    def append(value: int, look: bool) -> int | None:
        items.append(value)
        return len(items) if look else None

    def perform(rng: random.Random, number: int) -> tuple[str, Any, Callable[[], Any]]:
        look = rng.random() < 0.2
        if rng.random() < 0.4:
            return "read", None, lambda: tuple(items)
        return "append", number, lambda: append(number, look)

    return perform


OBJECTS: list[tuple[Model, Callable[[int | None], Perform]]] = [
    (Register(), register),
    (KeyValue(), key_value),
    (Counter(), counter),
    (ListAppend(), list_append),
]
BY_MODEL = pytest.mark.parametrize(("model", "new"), OBJECTS)


class PlainList(Model):
    """A list by the book, for the brute force: the real model looks ahead."""

    initial = ()

    def step(self, state: Any, operation: Operation) -> Any:
        if operation.kind == "read":
            return state if operation.result == state else IMPOSSIBLE
        if operation.returned is not None and operation.result not in (None, len(state) + 1):
            return IMPOSSIBLE
        return (*state, operation.argument)


def specification(model: Model) -> Model:
    return PlainList() if isinstance(model, ListAppend) else model


@BY_MODEL
@given(
    seed=st.integers(0, 2**32),
    clients=st.integers(1, 12),
    values=st.sampled_from([None, 3]),
    unknown=st.sampled_from([0.0, 0.1, 0.3]),
)
@settings(max_examples=40, deadline=None)
def test_what_an_atomic_object_does_always_passes(
    model: Model,
    new: Callable[[int | None], Perform],
    seed: int,
    clients: int,
    values: int | None,
    unknown: float,
) -> None:
    operations = atomic_history(
        random.Random(seed), new(values), operations=60, clients=clients, unknown=unknown
    )
    found = search(operations, model)
    assert found.order is not None
    # The order is not taken on trust: it is replayed on the specification.
    assert is_linearization(found.order, specification(model))
    done = [one for one in found.order if one.returned is not None]
    answered = [one for one in operations if one.returned is not None]
    assert sorted(done, key=lambda one: one.invoked) == answered


def mutated(rng: random.Random, operations: list[Operation]) -> list[Operation]:
    """Exchange two results of the same kind, or move an answer to before it was possible."""
    changed = list(operations)
    for _ in range(rng.randrange(1, 3)):
        first, second = (rng.randrange(len(changed)) for _ in range(2))
        one, other = changed[first], changed[second]
        answered = one.returned is not None and other.returned is not None
        if answered and one.kind == other.kind and one.kind != "txn":
            changed[first] = replace(one, result=other.result)
            changed[second] = replace(other, result=one.result)
        elif one.returned is not None:
            changed[first] = replace(one, returned=one.invoked + (one.returned - one.invoked) / 8)
    return changed


@BY_MODEL
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(2, 6),
    clients=st.integers(2, 4),
    values=st.sampled_from([None, 2]),
)
@settings(max_examples=100, deadline=None)
def test_mutated_histories_get_the_verdict_of_the_definition(
    model: Model,
    new: Callable[[int | None], Perform],
    seed: int,
    size: int,
    clients: int,
    values: int | None,
) -> None:
    rng = random.Random(seed)
    operations = atomic_history(rng, new(values), operations=size, clients=clients, unknown=0.2)
    changed = mutated(rng, operations)
    assert check(changed, model).ok == brute_force(changed, specification(model))


@pytest.mark.parametrize(
    ("model", "new", "clients"),
    [(model, new, clients) for model, new in OBJECTS for clients in (1, 10)]
    + [(Register(), register, 50), (ListAppend(), list_append, 50)],
)
def test_ten_thousand_operations_take_seconds(
    model: Model, new: Callable[[int | None], Perform], clients: int
) -> None:
    # Additions that may have happened leave many possible sums, so there are fewer of them.
    unknown = 0.001 if isinstance(model, Counter) else 0.01
    operations = atomic_history(
        random.Random(clients), new(None), operations=10_000, clients=clients, unknown=unknown
    )
    report = check(operations, model)
    assert report.ok
    # Steps of the model, as time is noisy: a million takes about a second.
    assert report.steps < 2_000_000


def test_a_violation_among_thousands_is_found_and_explained() -> None:
    held: list[int | None] = [None]

    def perform(rng: random.Random, number: int) -> tuple[str, Any, Callable[[], Any]]:
        if rng.random() < 0.5:
            return "read", None, lambda: held[0]
        return "write", number, lambda: held.__setitem__(0, number)

    rng = random.Random(1)
    operations = atomic_history(rng, perform, operations=5_000, clients=10, unknown=0.01)
    answered = [
        number
        for number, one in enumerate(operations)
        if one.kind == "read" and one.returned is not None and number > 3000
    ]
    late = answered[len(answered) // 2]
    early = next(n for n in answered if operations[n].result != operations[late].result)
    operations[late] = replace(operations[late], result=operations[early].result)
    (violation,) = check(operations, Register()).violations
    assert violation.stuck == operations[late]
    assert len(violation.excerpt.essential) <= 4
