"""The sending side of a connection: what is queued in the engine, and the task that takes it out.

The writer task sleeps until something is queued. Whoever queues marks the connection dirty, which
makes the writer runnable; Trio runs everything that is runnable before it in the same pass, so all
that became ready in the pass leaves in one `send_all`. But when there is much, some of it leaves
early (`queued`): the peer would only wait for it, and we for the peer after that.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from .http2 import Connection as Engine
from .http2 import Http2Error
from .pipe import open_pipe

if TYPE_CHECKING:
    from .call import Call

__all__ = ["PIECES", "Writing"]

log = logging.getLogger(__name__)

#: Bulk data is read, and written, in so many pieces before others run: half a MiB, a millisecond.
PIECES = 8

# Frames that are sent before the pass is over. Sending fewer costs more than it gains: a system
# call here and waking the peer. Sending more at once makes two ends on two cores work in turns.
_EARLY_FRAMES = 16


class Writing:
    """A connection as what queues output sees it. `Reading` adds the other direction."""

    _dispatch: Callable[[], int]  # of `Connection`: taking output may bring events as well

    def __init__(self, stream: trio.abc.Stream, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        #: Calls with a task that waits for their output to drain.
        self.blocked: dict[int, Call[Any, Any]] = {}
        self._pipe = open_pipe(stream)
        self.dirty: bool = False  # something is queued and the writer task knows
        self._parked: Task | None = None  # the writer task, while it sleeps
        self.opened: bool = False  # a request is queued that the engine has not framed yet
        self._early = b""  # what was taken from the engine before its turn; sent first
        self._sending = False
        self._waiting = 0  # frames queued since output was last taken, about
        self._early_from: float = _EARLY_FRAMES if self._pipe.immediate else math.inf
        self._over = False  # the engine has nothing more to do
        self._reset_later: list[tuple[int, int]] = []

    # ---- for calls ---------------------------------------------------------------------------

    def mark_dirty(self) -> None:
        """Something is queued in the engine: let the writer task run after this pass."""
        self.dirty = True
        task = self._parked
        if task is not None:
            self._parked = None
            reschedule(task)

    def flush(self) -> None:
        """Send what is queued at once, as far as the network takes it; the writer does the rest.

        For whoever queues much in one stretch and is through with it: a pass of the scheduler
        sooner than `mark_dirty`. Not from inside an event's handler. Never waits, raises nothing.
        """
        if self._parked is None:
            self.dirty = True  # the writer task is at it, or about to be
            return
        self._send_some()

    def queued(self, frames: int) -> None:
        """So many more frames are queued: when there are enough, they are sent at once.

        As `flush`: not from inside an event's handler. Never waits, raises nothing.
        """
        self._waiting += frames
        if self._waiting < self._early_from or self._early or self._sending or self._over:
            return
        self._send_some()

    def _send_some(self) -> None:
        try:
            data = self._take_output()
            self._early = data  # if sending fails, the writer task is to meet the same error
            sent = self._pipe.send_now(data) if data else 0
        except (trio.BrokenResourceError, trio.ClosedResourceError, Http2Error):
            self.mark_dirty()
            return
        self._early = data[sent:]
        if self._early or self.dirty:
            self.mark_dirty()

    def reset(self, stream_id: int, code: int) -> None:
        """Queue RST_STREAM; what the stream has queued but not sent is dropped."""
        try:
            self.engine.reset_stream(stream_id, code)
        except Http2Error:
            return  # the session is ending, and every stream with it
        self.mark_dirty()

    def reset_when_sent(self, stream_id: int, code: int) -> None:
        """Queue RST_STREAM behind everything that the stream has queued."""
        self._reset_later.append((stream_id, code))
        self.mark_dirty()

    # ---- the task ----------------------------------------------------------------------------

    async def _write_loop(self, scope: trio.CancelScope) -> None:
        """Send what the engine has whenever it has something; end the connection with it."""
        try:
            while not self._over:
                if not self.dirty:
                    self._parked = current_task()
                    await wait_task_rescheduled(self._abort_parked)
                data = self._take_output()
                sent = self._pipe.send_now(data) if data else 0
                if sent == len(data) == self._pipe.write_size:
                    data, sent = self._send_bulk(), 0
                if sent < len(data):
                    self._sending = True
                    await self._pipe.send_all(memoryview(data)[sent:])
                    self._sending = False
                elif self.dirty:
                    await trio.lowlevel.checkpoint()  # there is more: let others run in between
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the reader task sees the same and gives the reason
        except Http2Error as error:
            log.warning("%s: the HTTP/2 session failed: %s", self.name, error)
        scope.cancel()

    def _take_output(self) -> bytes:
        """What is to be sent now; calls that wait for room hear of it."""
        self.dirty = False
        self.opened = False
        self._waiting = 0
        size = self._pipe.write_size
        data = self.engine.data_to_send(size)
        if self._early:
            data, self._early = self._early + data, b""
        if self._dispatch() and self.engine.want_write:
            self.dirty = True
        if self.blocked or self._reset_later or len(data) >= size:
            self._drained(len(data) < size)
        return data

    def _send_bulk(self) -> bytes:
        """Send on for a while, as there was a whole piece; returns what the network did not take.

        Raises as `Pipe.send_now`, and Http2Error.
        """
        take, send, size = self.engine.data_to_send, self._pipe.send_now, self._pipe.write_size
        data, sent = b"", 0
        for _ in range(PIECES - 1):
            data = take(size)
            sent = send(data) if data else 0
            if sent < size:
                break
        self.dirty = bool(self._dispatch()) and self.engine.want_write
        self._drained(len(data) < size)
        return data[sent:]

    def _abort_parked(self, _: object) -> Abort:
        self._parked = None
        return Abort.SUCCEEDED

    def _drained(self, everything: bool) -> None:
        """Output was taken from the engine; `everything` says no more was ready."""
        if not everything:
            self.dirty = True
        elif self._reset_later:
            self._reset_drained()
        if self.blocked:
            for stream_id, call in list(self.blocked.items()):
                call.output_drained(self.engine.queued_body_size(stream_id))

    def _reset_drained(self) -> None:
        waiting, self._reset_later = self._reset_later, []
        for stream_id, code in waiting:
            try:
                window = self.engine.stream_remote_window_size(stream_id)
            except Http2Error:
                continue  # the stream has ended by itself
            # An exhausted window holds back trailers too: the engine ends DATA with them.
            shut = window <= 0 or self.engine.remote_window_size <= 0
            if shut or self.engine.queued_body_size(stream_id):
                self._reset_later.append((stream_id, code))
            else:
                self.reset(stream_id, code)
