"""Which tasks belong to which simulated machine, and machines that stand still.

A stopped process (SIGSTOP, a virtual machine that migrates, a long garbage collection) runs no
step of any of its tasks while the world goes on: messages arrive in its kernel's buffers, its
deadlines pass, and when it continues it finds the clock ahead. Here that is the literal truth: the
scheduler is given only the tasks of machines that run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import trio

__all__ = ["Processes"]

_machine: ContextVar[str] = ContextVar("machine")


class Processes:
    """Stops and continues the machines of one Trio run. Only from inside that run."""

    def __init__(self) -> None:
        self._held: dict[str, list[Any]] = {}

    @contextmanager
    def belongs(self, machine: str) -> Iterator[None]:
        """What is spawned in the block, at any depth, belongs to `machine`."""
        token = _machine.set(machine)
        try:
            yield
        finally:
            _machine.reset(token)

    def is_stopped(self, machine: str) -> bool:
        return machine in self._held

    def stop(self, machine: str) -> None:
        """No task of `machine` runs from the next scheduler pass on. Harmless if it is stopped."""
        if machine in self._held:
            return
        self._held[machine] = []
        self._install()

    def resume(self, machine: str) -> None:
        """The tasks that have something to do go on. Harmless if it is not stopped."""
        held = self._held.pop(machine, [])
        self._install()
        queue = _runner().runq
        for task in held:
            queue.append(task)

    def resume_all(self) -> None:
        for machine in list(self._held):
            self.resume(machine)

    def _install(self) -> None:
        """Swap the scheduler's queue: a plain one costs nothing while nobody stands still."""
        runner = _runner()
        waiting = list(runner.runq)
        runner.runq = _Queue(self._held) if self._held else deque()
        for task in waiting:
            runner.runq.append(task)


class _Queue(deque[Any]):
    """A scheduler's queue that puts the tasks of stopped machines aside."""

    def __init__(self, held: dict[str, list[Any]]) -> None:
        super().__init__()
        self._held = held

    def append(self, task: Any) -> None:
        machine = task.context.get(_machine)
        if machine in self._held:
            self._held[machine].append(task)
        else:
            super().append(task)


def _runner() -> Any:
    """Trio's scheduler. Its queue has no public name; a test of ours fails if it moves."""
    core: Any = trio._core._run
    runner = core.GLOBAL_RUN_CONTEXT.runner
    if not isinstance(runner.runq, deque):
        raise RuntimeError(
            f"Trio {trio.__version__} keeps its tasks in a {type(runner.runq).__name__}: "
            "stopping machines needs another way with this release"
        )
    return runner
