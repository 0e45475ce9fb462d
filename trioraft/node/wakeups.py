"""How the parts of a group tell each other and their callers that there is something to do.

`Doorbell` and `Slot` are one-to-one wake-ups that cost one reschedule and no allocation of a
trio.Event: for a single waiting task, which is what the driver, the applier and a caller with one
pending call are. `Answer` is where an outcome goes, to a waiting task or elsewhere. `Flushes` is
what to do once the work in hand is done. All are plain function calls that never block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

import outcome
import trio

__all__ = ["Answer", "Doorbell", "Flushes", "Slot"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Answer(Protocol[T_contra]):
    """Where the outcome of one call goes; the first one counts. A `Slot` is one.

    Called in a turn of the group: must be quick, must not wait or raise, and must ask the group
    for nothing at once (a turn is not entered twice; what is asked waits for the next one).
    """

    def resolve(self, value: T_contra) -> Any: ...

    def fail(self, error: BaseException) -> Any: ...


class Flushes:
    """What was queued on connections and is to leave when the work in hand is done, once each.

    A batch has answers for many callers on few connections, and appends for followers: each
    connection gets one write, in the same pass of the scheduler.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], Any], None] = {}

    def add(self, flush: Callable[[], Any]) -> None:
        """Call `flush` soon: once, however often equal ones are added. It must raise nothing."""
        self._waiting[flush] = None

    def run(self) -> None:
        """The work in hand is done."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for flush in waiting:
                flush()


class Doorbell:
    """Level-triggered: rings before `wait` are remembered, many rings are one wake-up."""

    __slots__ = ("_rung", "_task")

    def __init__(self) -> None:
        self._rung = False
        self._task: trio.lowlevel.Task | None = None

    def ring(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)
        else:
            self._rung = True

    async def wait(self) -> None:
        """Return once rung since the last return. A checkpoint; cancelling keeps the ring."""
        if self._rung:
            self._rung = False
            await trio.lowlevel.checkpoint()
            return
        assert self._task is None, "a doorbell has one waiter"
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)


class Slot(Generic[T]):
    """The answer to one call: resolved or failed once, waited for once.

    A slot whose waiter was cancelled takes its answer and drops it.
    """

    __slots__ = ("_outcome", "_task")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._outcome: outcome.Value[T] | outcome.Error | None = None

    @property
    def is_set(self) -> bool:
        return self._outcome is not None

    def resolve(self, value: T) -> None:
        self._set(outcome.Value(value))

    def fail(self, error: BaseException) -> None:
        self._set(outcome.Error(error))

    def _set(self, result: outcome.Value[T] | outcome.Error) -> None:
        if self._outcome is not None:
            return  # the first answer stands: e.g. applied, then the group stopped
        self._outcome = result
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task, result)

    async def wait(self) -> T:
        """The value, or the error raised here. A checkpoint; cancelling abandons the answer."""
        if self._outcome is not None:
            await trio.lowlevel.checkpoint()
            return self._outcome.unwrap()
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        return cast(T, await trio.lowlevel.wait_task_rescheduled(abort))
