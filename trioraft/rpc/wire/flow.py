"""What bounds the receiving half of a call: windows, what is kept, and the task that waits.

Flow control follows consumption: bytes are acknowledged when the application takes the message
they belong to. Only the bytes of one message that is still incomplete, with no complete one before
it, are acknowledged as they come, or a message larger than the window could never arrive.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from trioraft.rpc.status import GRPCError, Status

from .framing import Body, Deframer

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

    from .connection import Connection

#: More bytes than ever come.
NEVER = 1 << 62
#: Messages a task may send or take without giving way to others, when it never has to wait.
FAIR_SHARE = 64


class Flow:
    """Windows and waiting of a call that receives. `Receiving` adds the messages."""

    # Set by `Receiving`: another __init__ is time that each call would pay for.
    _connection: Connection
    _limits: Limits
    _inbox: deque[Body]
    _deframer: Deframer
    _acknowledge_at: int  # of the free bytes
    _id = 0
    _closed = False  # the stream is gone from the engine
    _failure: GRPCError | None = None  # what further receiving raises
    _discarding = False  # no further message is wanted
    _reader: Task | None = None
    _streak = 0  # messages sent or taken since the task last gave way
    _acknowledged = 0  # bytes, until the stream has had its chance of a larger window
    _bulk = False  # the stream has a window of `Limits.bulk_window`
    _unacknowledged = 0  # received bytes that the engine has not been told are consumed
    _free = 0  # those of them that are consumed
    _credit = 0  # those of the free ones that belong to a message that is not taken yet

    def refuse(self, error: GRPCError) -> None:
        """End receiving with `error`: the messages that came before it can still be taken."""
        self._failure = error
        self._discard()

    def _raise_failure(self) -> None:
        failure = self._failure
        if failure is not None:
            raise GRPCError(failure.status, failure.message, failure.details)

    # ---- flow control ------------------------------------------------------------------------

    def _release_incomplete(self) -> None:
        """With the inbox empty, every byte not free yet belongs to one incomplete message."""
        if self._closed:
            return  # everything was acknowledged when the stream went
        connection = self._connection
        amount = self._unacknowledged - self._free
        self._credit += amount
        self._free = self._unacknowledged
        connection.held += amount
        if connection.held > connection.max_held and amount:
            self.refuse(
                GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"the connection's calls have over {connection.max_held} bytes of messages "
                    "that are not complete",
                )
            )

    def _release_held(self) -> None:
        self._connection.held -= self._credit
        self._credit = 0

    def _acknowledge(self) -> None:
        self._connection.acknowledge(self._id, self._free)
        self._unacknowledged -= self._free
        self._acknowledged += self._free
        self._free = 0
        if self._acknowledged >= 2 * self._limits.stream_window and not self._inbox:
            self._widen()

    def _widen(self) -> None:
        """Much has come, and the application keeps up: let more come at once."""
        self._acknowledged = -NEVER
        if not self._closed and self._connection.widen(self._id):
            self._acknowledge_at = self._limits.bulk_window // 4
            self._bulk = True

    def _narrow(self) -> None:
        """The stream has ended."""
        if self._bulk:
            self._bulk = False
            self._connection.bulk_streams -= 1

    def _discard(self) -> None:
        """Drop whatever still comes; hand back its window and that of what is here."""
        self._discarding = True
        if self._credit:
            self._release_held()
        self._deframer.drop()
        if self._unacknowledged and not self._closed:
            self._free = self._unacknowledged
            self._acknowledge()

    # ---- waiting -----------------------------------------------------------------------------

    async def _wait_readable(self) -> None:
        if self._reader is not None:
            raise trio.BusyResourceError("another task is already receiving on this call")
        self._streak = 0
        self._reader = current_task()
        await wait_task_rescheduled(self._abort_reader)

    def _abort_reader(self, _: object) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def _wake_reader(self) -> None:
        task = self._reader
        if task is not None:
            self._reader = None
            reschedule(task)
