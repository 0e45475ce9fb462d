"""Long work in steps: how one request over a million keys lets the node's other tasks run.

The Raft clock never stands behind the state machine (docs/architecture.md, Rules), and the
machine shares one thread with it. So whatever can touch many keys is a generator that pauses every
few hundred of them and returns its result; who runs it decides what a pause is. The store is
never read or written by anyone else in between: the runtime calls one method at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TypeVar

__all__ = ["KEYS_PER_STEP", "Steps", "collect", "finish_steps", "run_steps"]

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work that pauses by yielding and returns a T."""

KEYS_PER_STEP = 256
"""Keys between two pauses: about a millisecond of work."""


def collect(items: Iterable[T]) -> Steps[list[T]]:
    """A list of `items`, with pauses."""
    found: list[T] = []
    for item in items:
        found.append(item)
        if len(found) % KEYS_PER_STEP == 0:
            yield
    return found


def finish_steps(steps: Steps[T]) -> T | None:
    """The result of work that needs no pause; None at its first pause, where it is given up.

    For work that changes nothing.
    """
    try:
        next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    steps.close()
    return None


async def run_steps(steps: Steps[T], pause: Callable[[], Awaitable[None]]) -> T:
    """Run to the end with `pause` at each pause. No checkpoint if there is none."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        await pause()
