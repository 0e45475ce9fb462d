"""Tasks that run handlers, one call at a time, and wait for the next call of their connection.

A task and a cancel scope are most of what Trio costs per call, so a worker keeps both: the next
call runs in the same task and, unless the last one was cancelled, in the same scope. To a
handler it looks as if it had them to itself: nothing of an earlier call's scope, deadline or
context variables reaches it, and never more than one call runs in a worker.
"""

from __future__ import annotations

import logging
import math
from contextvars import Context
from typing import Protocol

import outcome
import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

__all__ = ["Work", "Workers"]

log = logging.getLogger(__name__)

#: Workers without a call that a connection keeps. Each is a parked task of about 3 KiB.
MAX_IDLE = 64


class Work(Protocol):
    """What a worker runs."""

    @property
    def method_name(self) -> str: ...

    async def run(self, scope: trio.CancelScope) -> None:
        """Run inside `scope`, which is this call's alone until `finished`.

        Raises nothing but trio.Cancelled (or a group of them) and what must end the connection.
        """

    def finished(self, *, cancelled: bool) -> None:
        """`run` has returned, or was ended by `scope`. Must not raise."""

    def broken(self, error: RuntimeError) -> None:
        """Trio has found the scopes of `run` out of order. If it has not ended, it has now."""


class Workers:
    """The workers of one connection, all in its nursery: they end with it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._idle: list[Task] = []

    def start(self, work: Work) -> None:
        """Run `work` in a worker, in the scheduler's next pass. Never waits."""
        if self._idle:
            reschedule(self._idle.pop(), outcome.Value(work))
        else:
            self._nursery.start_soon(self._live, work)

    async def _live(self, first: Work) -> None:
        task = current_task()
        context = task.context.copy()
        work: Work | None = first
        while work is not None:
            try:
                with trio.CancelScope() as scope:
                    status = task._cancel_status  # Trio has no public way to ask
                    while work is not None:
                        task.name = work.method_name
                        await work.run(scope)
                        work.finished(cancelled=False)
                        if scope.cancel_called or task._cancel_status is not status:
                            break  # too late for this call, and it must not reach the next one
                        if scope.deadline != math.inf:
                            scope.deadline = math.inf
                        work = await self._next(task, context)
            except RuntimeError as error:
                assert work is not None
                await _retire(task, work, error)
                return
            if scope.cancelled_caught and work is not None:
                work.finished(cancelled=True)
            if work is not None and scope.cancel_called:
                work = await self._next(task, context)

    async def _next(self, task: Task, context: Context) -> Work | None:
        """Park until there is another call; None if enough workers are waiting already."""
        if len(self._idle) >= MAX_IDLE:
            return None
        task.name = "trioraft.rpc worker"
        # Takes effect when the task runs next: what a handler has set in its context is gone.
        task.context = context.copy()
        self._idle.append(task)

        def abort(_: object) -> Abort:
            self._idle.remove(task)
            return Abort.SUCCEEDED

        work: Work = await wait_task_rescheduled(abort)
        return work


async def _retire(task: Task, work: Work, error: RuntimeError) -> None:
    """A handler has left a cancel scope or a nursery open: its worker takes no other call.

    Such a scope would cancel whatever runs in it later. Trio says so (`error`) when the scope
    around it is closed. It is easily done: an async generator that yields inside of
    `move_on_after` or a nursery, and is not run to its end.
    """
    log.error("%s: a cancel scope or a nursery was left open", work.method_name, exc_info=error)
    work.broken(error)
    for nursery in task.child_nurseries:
        nursery.cancel_scope.cancel()
    if task.child_nurseries:
        await trio.sleep_forever()  # a task must not end before its nurseries do
