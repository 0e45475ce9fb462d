"""One HTTP/2 connection: two tasks around one engine.

The reader task feeds what the socket brings to the engine and hands its events to the calls, by
plain method calls. The writer task sleeps until something is queued. Whoever queues marks the
connection dirty, which makes the writer runnable; Trio runs everything that is runnable before it
in the same pass, so all that became ready in the pass leaves in one `send_all`.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from trioraft.rpc.peer import Peer, notice_silence
from trioraft.rpc.status import GRPCError, Status

from .budget import Budget
from .http2 import (
    Connection as Engine,
)
from .http2 import (
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    Http2Error,
    PingReceived,
    ProtocolViolation,
    SettingsReceived,
    StreamClosed,
)
from .pipe import open_pipe

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

    from .call import Call
    from .receiving import Receiving

log = logging.getLogger(__name__)

# What is taken from the socket at once.
_READ_SIZE = 64 * 1024
# A read that holds more events than this, about 10 ms of new calls, makes the next one shorter:
# whoever sends much that is small must not make the others wait for all of it.
_FAIR_EVENTS = 256
_LEAST_READ = 4 * 1024
# Bulk data is read, and written, in so many pieces before others run: half a MiB, a millisecond.
_PIECES = 8
# Bytes per event from which on a read counts as bulk. Small messages take much longer to handle.
_BULK_EVENT = 8 * 1024
# Lines that the log gets of one connection's mistakes: it must not be what fills the disk.
_WARNINGS = 20

# For how long, in seconds, and how many reads a peer that was told to go is listened to.
_LINGER = 1.0
_LINGER_READS = 64


#: GOAWAY without an error (RFC 9113 §6.8), from its type on: no flags, stream 0, any last stream.
_FAREWELL = re.compile(rb"\x07\0\0\0\0\0.{4}\0\0\0\0", re.DOTALL)


class Connection:
    """Runs an engine over a byte stream. The ends (`server`, `client`) subclass it."""

    peer: Peer

    def __init__(self, stream: trio.abc.Stream, engine: Engine, limits: Limits, name: str) -> None:
        self.engine = engine
        self.limits = limits
        self.name = name
        #: Why the connection ended, once it has.
        self.end_reason = ""
        # Counts for channelz. A call in `calls` has not ended; one that has and did not fail
        # has succeeded.
        self.calls_started = 0  # of those that have a stream
        self.calls_failed = 0  # ended with anything but OK
        self.streams_failed = 0  # ended without END_STREAM from the server
        self.messages_sent = 0  # handed to the engine
        self.messages_received = 0  # taken by the application
        self.bulk_streams = 0  # that have a window of `Limits.bulk_window`
        #: The code of the GOAWAY that the peer has sent, if it has.
        self.goaway_code: int | None = None
        self.calls: dict[int, Call[Any, Any]] = {}
        #: Calls with a task that waits for their output to drain.
        self.blocked: dict[int, Call[Any, Any]] = {}
        #: Bytes that calls keep of messages which are not complete.
        self.held = 0
        #: The most of them. One message of the largest size is always possible.
        self.max_held = max(limits.max_buffered, 2 * limits.max_receive_message)
        self._control = Budget(limits.control_burst, limits.control_rate)
        self._progress = 0  # of calls and messages when the last PING came
        self._warnings = 0
        self._goodbye = int(ErrorCode.NO_ERROR)  # the code that our GOAWAY will say
        self._deliveries: list[Receiving[Any]] = []  # calls whose sink gets what a read brought
        self._stream = stream
        self._pipe = open_pipe(stream)
        notice_silence(stream, limits.silence_timeout)
        self.dirty = False  # something is queued and the writer task knows
        self._parked: Task | None = None  # the writer task, while it sleeps
        self.opened = False  # a request is queued that the engine has not framed yet
        self._early = b""  # what was taken from the engine before its turn; sent first
        self._sending = False
        self.peer_leaves = False  # GOAWAY has come
        self._broken = 0  # the error that the engine has closed the connection over
        self._over = False  # the engine has nothing more to do
        #: GOAWAY is queued that says all that there is to say.
        self.said_goodbye = False
        #: Whether the peer gets a moment to close first, so that it reads all that was sent.
        self.lingers = False
        #: Why we end the connection ourselves, if we do.
        self.end_cause = ""
        self._reset_later: list[tuple[int, int]] = []
        self._handshake = trio.CancelScope()
        self._handlers: dict[type, Callable[[Any], None]] = {
            DataReceived: self._on_data,
            StreamClosed: self._on_stream_closed,
            SettingsReceived: self._on_settings,
            PingReceived: self._on_ping,
            GoAwayReceived: self._on_goaway,
            ConnectionClosed: self._on_connection_closed,
        }

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
        try:
            data = self._take_output()
            self._early = data  # if sending fails, the writer task is to meet the same error
            sent = self._pipe.send_now(data) if data else 0
        except (trio.BrokenResourceError, Http2Error):
            self.mark_dirty()
            return
        self._early = data[sent:]
        if self._early or self.dirty:
            self.mark_dirty()

    def widen(self, stream_id: int) -> bool:
        """Give the stream a window of `Limits.bulk_window`, if one more such may be."""
        limits = self.limits
        if (
            self.bulk_streams >= limits.max_bulk_streams
            or limits.bulk_window <= limits.stream_window
        ):
            return False
        try:
            self.engine.set_local_window_size(limits.bulk_window, stream_id=stream_id)
        except Http2Error:
            return False  # the peer has ended its direction: nothing more comes
        self.bulk_streams += 1
        self.mark_dirty()
        return True

    def acknowledge(self, stream_id: int, amount: int) -> None:
        """`amount` received bytes are consumed: reopen the windows by them."""
        try:
            self.engine.acknowledge_received_data(amount, stream_id)
        except Http2Error:
            return  # the session is ending: there are no windows to reopen
        if self.engine.want_write:
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

    def warn(self, problem: str, *arguments: object) -> None:
        """Log a mistake of the peer, unless the log has had enough of this connection's."""
        self._warnings += 1
        if self._warnings <= _WARNINGS:
            log.warning("%s: " + problem, self.name, *arguments)
        if self._warnings == _WARNINGS:
            log.warning("%s: no more of its mistakes are logged", self.name)

    def deliver_later(self, call: Receiving[Any]) -> None:
        """Messages for the call's sink are here: hand them over once all events are dispatched."""
        if not self._deliveries or self._deliveries[-1] is not call:
            self._deliveries.append(call)

    # ---- tasks -------------------------------------------------------------------------------

    async def run(self, timeout: float) -> None:
        """Run until either side ends the connection. Closes the stream.

        Args:
            timeout: Seconds for the peer's first SETTINGS frame.

        Cancelling sends GOAWAY if the network takes it within `Limits.close_timeout`.
        """
        reason = "the connection was closed"
        self._handshake.deadline = trio.current_time() + timeout
        try:
            async with trio.open_nursery() as nursery:
                self._started(nursery)
                nursery.start_soon(self._write_loop, nursery.cancel_scope)
                with self._handshake:
                    reason = await self._read_loop()
                if self._handshake.cancelled_caught:
                    reason = f"no HTTP/2 from the peer within {timeout:g} s"
                    log.warning("%s: %s", self.name, reason)
                nursery.cancel_scope.cancel()
        finally:
            self._over = True
            self.end_reason = f"{self.name}: {self.end_cause or reason}"
            self._lost(GRPCError(Status.UNAVAILABLE, self.end_reason))
            await self._close()

    def _started(self, nursery: trio.Nursery) -> None:
        """The nursery for the connection's tasks is open."""

    async def _read_loop(self) -> str:
        """Read until there is no more to read; return why."""
        receive, feed = self._pipe.receive, self.engine.receive_data
        data: bytes | bytearray = b""
        piece: bytes | bytearray
        receive_now = self._pipe.receive_now
        pieces = 0  # to be read without waiting
        size = _READ_SIZE
        try:
            while True:
                piece = receive_now(_READ_SIZE) if pieces else b""
                fresh = not piece
                if fresh:
                    piece = await receive(size)
                    if not piece:
                        return "the peer closed the connection"
                data = piece  # the last there was, if it turns out to be wrong
                if self.opened:
                    # A GOAWAY in `data` would make the engine drop what it has not framed yet.
                    self._early += self.engine.data_to_send()
                    self.opened = False
                feed(piece)
                events = self._dispatch()
                if events > _FAIR_EVENTS:
                    size = max(_LEAST_READ, size * _FAIR_EVENTS // events)
                elif size < _READ_SIZE:
                    size = min(_READ_SIZE, 2 * size)
                if len(piece) < _READ_SIZE or events * _BULK_EVENT > _READ_SIZE:
                    pieces = 0
                else:
                    pieces = _PIECES - 1 if fresh else pieces - 1
                if self._deliveries:
                    self._hand_over()
                if self.engine.want_write:
                    self.mark_dirty()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            return f"the connection broke: {error}"
        except ProtocolViolation as error:
            await self._on_violation(data, error)
            return f"protocol error: {error}"
        except Http2Error as error:
            return f"the HTTP/2 session ended: {error}"
        finally:
            if self._broken:
                self._say_broken(data)

    def _hand_over(self) -> None:
        deliveries, self._deliveries = self._deliveries, []
        for call in deliveries:
            call.hand_over()

    async def _on_violation(self, data: bytes | bytearray, error: ProtocolViolation) -> None:
        log.warning("%s: peer broke HTTP/2: %s", self.name, error)

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
        for _ in range(_PIECES - 1):
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

    # ---- events ------------------------------------------------------------------------------

    def _dispatch(self) -> int:
        """Hand the engine's events on; returns how many there were."""
        events = self.engine.events()
        handlers = self._handlers
        for event in events:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
        return len(events)

    def _on_data(self, event: DataReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.data_received(event.data, event.end_stream)
        elif event.data:
            self.acknowledge(event.stream_id, len(event.data))

    def _on_stream_closed(self, event: StreamClosed) -> None:
        call = self.calls.pop(event.stream_id, None)
        if call is not None:
            call.stream_closed(event.error_code, event.local_error)

    def _on_settings(self, event: SettingsReceived) -> None:
        self._handshake.deadline = math.inf
        self._spend_control()

    def _on_ping(self, event: PingReceived) -> None:
        # Peers that measure the bandwidth ping between messages as often as they come.
        progress = self.calls_started + self.messages_sent + self.messages_received
        if progress == self._progress:
            self._spend_control()
        self._progress = progress

    def _spend_control(self) -> None:
        if not self._control.spend(trio.current_time()):
            self._goodbye = int(ErrorCode.ENHANCE_YOUR_CALM)
            log.warning("%s: closing: a flood of SETTINGS or PING", self.name)
            raise Http2Error("the peer sent too many SETTINGS or PING frames")

    def _on_goaway(self, event: GoAwayReceived) -> None:
        self.peer_leaves = True
        self.goaway_code = event.error_code
        if event.error_code:
            debug = event.debug_data[:200]
            self.warn("peer is closing: error %d %r", event.error_code, debug)

    def _on_connection_closed(self, event: ConnectionClosed) -> None:
        self._over = True
        if not self.peer_leaves:
            self._broken = event.error_code
        self.mark_dirty()

    def _say_broken(self, data: bytes | bytearray) -> None:
        """The engine has closed the connection over what is in `data`, the last that was read."""
        # grpc-go's clients leave so, and name the last stream of their own. libnghttp2 takes that
        # for an error: it has to be one of the server's. They have ended their calls before.
        if not _FAREWELL.search(data):
            self.warn("peer broke HTTP/2: error %d", self._broken)

    # ---- the end -----------------------------------------------------------------------------

    def _lost(self, error: GRPCError) -> None:
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.connection_lost(error)

    async def _close(self) -> None:
        """Say goodbye if that is still possible, then close the stream."""
        farewell = b""
        if not self._sending:
            try:
                if not self.said_goodbye:
                    self.engine.terminate_connection(self._goodbye)
                farewell = self.engine.data_to_send(self._pipe.write_size)
            except Http2Error:
                farewell = b""  # the session has failed or said goodbye already
            farewell = self._early + farewell
        try:
            if farewell:
                with trio.move_on_after(self.limits.close_timeout, shield=True):
                    try:
                        await self._stream.send_all(farewell)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        log.debug("%s: gone before GOAWAY", self.name)
            if self.lingers:
                await self._linger()
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _linger(self) -> None:
        """Let the peer close first. A socket that is closed with something unread in it is reset,
        and what the peer has not read yet is lost to it."""
        with trio.move_on_after(_LINGER):
            try:
                for _ in range(_LINGER_READS):
                    if not await self._pipe.receive(_READ_SIZE):
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
