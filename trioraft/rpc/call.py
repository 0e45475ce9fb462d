"""What both ends of a call share: messages in, messages out, and who waits for them.

A call lives on one HTTP/2 stream. Its connection's reader task pushes DATA into it by plain
method calls (`data_received`, `end_received`, `stream_closed`, `connection_lost`), which park
messages in an inbox and wake the application's task at most once per socket read. Sending puts
bytes into the engine and marks the connection dirty; the connection's writer task takes them to
the socket.

Flow control follows consumption: bytes are acknowledged when the application takes the message
they belong to. Only the bytes of one message that is still incomplete, with no complete one before
it, are acknowledged as they come, or a message larger than the window could never arrive.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from .framing import PREFIX_SIZE, Deframer, Encoded, Message, pack_prefix
from .http2 import ErrorCode, Http2Error
from .status import GRPCError, ProtocolError, Status

if TYPE_CHECKING:
    from .connection import Connection
    from .limits import Limits

S = TypeVar("S")
R = TypeVar("R")

# Messages a task may send or take without giving way to others, when it never has to wait.
FAIR_SHARE = 64
# Above this it is cheaper to queue the prefix alone than to copy the message behind it.
_JOIN_BELOW = 32 * 1024
_NEVER = 1 << 62


class Call(Generic[S, R]):
    """One end of a call. Internal: users see `ServerStream` and `ClientStream`."""

    _connection: Connection
    _id = 0
    _ended = False  # the peer has ended its direction
    _closed = False  # the stream is gone from the engine
    _failure: GRPCError | None = None  # what further receiving raises
    _reset_sent = False  # RST_STREAM is queued
    _discarding = False  # nobody will take messages any more
    _sent_end = False  # our direction is ended
    _reader: Task | None = None
    _writer: Task | None = None
    _streak = 0  # messages sent or taken since the task last gave way
    _taken = False  # a message was
    _queued = 0  # at least the unsent bytes of ours; exact when last compared with the engine
    _unacknowledged = 0  # received bytes that the engine has not been told are consumed
    _free = 0  # those of them that are consumed
    _credit = 0  # those of the free ones that belong to a message that is not taken yet

    def __init__(self, limits: Limits, send_type: type[Any], receive_type: type[Any]) -> None:
        self._limits = limits
        self._send_type = send_type
        self._receive_type = receive_type
        self._decode = receive_type.FromString
        self._inbox: deque[bytes] = deque()
        self._deframer = Deframer(limits.max_receive_message)
        self._acknowledge_at = limits.stream_window // 4
        self._max_queued = limits.max_queued_bytes

    # ---- pushed in by the connection's reader task -------------------------------------------

    def data_received(self, data: bytes, end: bool) -> None:
        """Take one DATA frame's payload; wake the task that waits for it."""
        if data:
            self._unacknowledged += len(data)
            if self._discarding:
                self._free = self._unacknowledged
            else:
                try:
                    self._deframer.feed(data, self._inbox)
                except GRPCError as error:
                    self.refuse(error)
                if not self._inbox:
                    self._release_incomplete()
            if self._free >= self._acknowledge_at:
                self._acknowledge()
        if end:
            self.end_received()
        elif self._reader is not None:
            self._progress()

    def end_received(self) -> None:
        """The peer has ended its direction of the stream."""
        self._ended = True
        if self._deframer.incomplete and not self._discarding:
            self.refuse(GRPCError(Status.INTERNAL, "the stream ended inside a message"))
        if self._reader is not None:
            self._wake_reader()

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        """The stream is gone: both directions ended, or a reset by either side."""
        self._closed = True
        if self._unacknowledged:
            # The stream has no window left to reopen, but the connection has.
            self._free = self._unacknowledged
            self._acknowledge()
        self._acknowledge_at = _NEVER
        if self._reader is not None:
            self._wake_reader()
        if self._writer is not None:
            self._wake_writer()

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone and the call with it, unless it had ended already."""
        self._closed = True
        self._acknowledge_at = _NEVER
        if self._failure is None and not self._ended:
            self._failure = error
        self._wake_reader()
        self._wake_writer()

    def refuse(self, error: GRPCError) -> None:
        """End receiving with `error`: the messages that came before it can still be taken."""
        self._failure = error
        self._discard()

    def _progress(self) -> None:
        """Data has come, but not the end: wake the waiting reader if there is something for it."""
        if self._inbox or self._failure is not None:
            self._wake_reader()

    # ---- flow control ------------------------------------------------------------------------

    def _release_incomplete(self) -> None:
        """With the inbox empty, every byte not free yet belongs to one incomplete message."""
        self._credit += self._unacknowledged - self._free
        self._free = self._unacknowledged

    def _acknowledge(self) -> None:
        self._connection.acknowledge(self._id, self._free)
        self._unacknowledged -= self._free
        self._free = 0

    def _discard(self) -> None:
        """Drop whatever still comes, and hand its window back."""
        self._discarding = True
        self._credit = 0
        self._free = self._unacknowledged - self._held()
        if self._free > 0 and not self._closed:
            self._acknowledge()

    def _held(self) -> int:
        return sum(map(len, self._inbox)) + PREFIX_SIZE * len(self._inbox)

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

    def _abort_writer(self, _: object) -> Abort:
        self._writer = None
        self._connection.blocked.pop(self._id, None)
        return Abort.SUCCEEDED

    def _wake_writer(self) -> None:
        task = self._writer
        if task is not None:
            self._writer = None
            self._connection.blocked.pop(self._id, None)
            reschedule(task)

    def output_drained(self, queued: int) -> None:
        """The connection's writer task has taken output; `queued` bytes of ours remain."""
        if queued <= self._max_queued // 2:
            self._wake_writer()

    # ---- receiving ---------------------------------------------------------------------------

    def _raise_failure(self) -> None:
        failure = self._failure
        if failure is not None:
            raise GRPCError(failure.status, failure.message, failure.details)

    def _take(self) -> R:
        data = self._inbox.popleft()
        self._free += len(data) + PREFIX_SIZE - self._credit
        self._credit = 0
        self._taken = True
        if not self._inbox and self._free != self._unacknowledged:
            self._release_incomplete()
        if self._free >= self._acknowledge_at:
            self._acknowledge()
        try:
            message: R = self._decode(data)
        except Exception as error:
            raise self._undecodable(error) from error
        return message

    def _undecodable(self, error: Exception) -> GRPCError:
        return GRPCError(Status.INTERNAL, f"cannot decode {self._receive_type.__name__}: {error}")

    async def _receive(self) -> R | None:
        self._streak += 1
        if self._streak > FAIR_SHARE:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        while not self._inbox:
            self._raise_failure()
            if self._ended:
                return None
            await self._wait_readable()
        return self._take()

    async def receive_available(self) -> list[R]:
        """Wait for at least one message, then take all that have arrived.

        One wake-up for everything that a socket read brought. An empty list is the end of the
        stream. Cancelling takes nothing.

        Raises:
            GRPCError: As `recv_message` does.
        """
        first = await self.recv_message()
        if first is None:
            return []
        messages = [first]
        while self._inbox:
            messages.append(self._take())
        return messages

    async def recv_message(self) -> R | None:
        """Wait for the next message; None is the end of the stream. See the subclasses."""
        return await self._receive()

    def recv_message_nowait(self) -> R | None:
        """The next message if one has arrived already, else None.

        None does not tell whether the stream has ended: `recv_message` does.

        Raises:
            GRPCError: INTERNAL if the message cannot be decoded.
        """
        return self._take() if self._inbox else None

    # ---- sending -----------------------------------------------------------------------------

    def _encode(self, message: Any) -> bytes:
        if type(message) is not self._send_type and not isinstance(
            message, (self._send_type, Encoded)
        ):
            raise TypeError(
                f"this call sends {self._send_type.__name__}, not {type(message).__name__}"
            )
        encodable: Message = message
        data = encodable.SerializeToString()
        if len(data) > self._limits.max_send_message:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"message of {len(data)} bytes is over the sending limit of "
                f"{self._limits.max_send_message}",
            )
        return data

    def _put(self, data: bytes, end: bool) -> None:
        """Queue one message. The caller has checked that our direction is open."""
        connection = self._connection
        size = len(data)
        try:
            if size < _JOIN_BELOW:
                connection.engine.send_data(self._id, pack_prefix(0, size) + data, end_stream=end)
            else:
                connection.engine.send_data(self._id, pack_prefix(0, size))
                connection.engine.send_data(self._id, data, end_stream=end)
        except Http2Error as error:
            raise self._cannot_send(error) from error
        self._streak += 1
        self._queued += size + PREFIX_SIZE
        self._sent_end = end
        if not connection.dirty:
            connection.mark_dirty()

    def _cannot_send(self, error: Http2Error) -> GRPCError:
        """For the moment between the session's end and the news of it reaching this call."""
        return GRPCError(Status.UNAVAILABLE, f"{self._connection.name}: {error}")

    def _crowded(self) -> bool:
        """Whether more is queued than may be; asks the engine only if it could be."""
        if self._queued <= self._max_queued or self._closed:
            return False
        self._queued = self._connection.engine.queued_body_size(self._id)
        return self._queued > self._max_queued

    async def _pace(self) -> None:
        """Wait while too much is queued, and give way now and then when it is not."""
        if self._streak >= FAIR_SHARE:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        if self._crowded():
            await self.wait_writable()

    async def wait_writable(self) -> None:
        """Wait until this call may queue another message; return at once if it may already.

        Also returns when the call has ended, so that the next send reports it. One task at a
        time. Cancelling it changes nothing.

        Raises:
            trio.BusyResourceError: Another task is waiting already.
        """
        while self._crowded():
            if self._writer is not None:
                raise trio.BusyResourceError("another task is already sending on this call")
            self._streak = 0
            self._writer = current_task()
            self._connection.blocked[self._id] = self
            await wait_task_rescheduled(self._abort_writer)

    def _reset(self, code: int = ErrorCode.CANCEL) -> None:
        """Queue RST_STREAM, if there is still a stream."""
        if not self._closed and not self._reset_sent:
            self._reset_sent = True
            self._discard()
            self._connection.reset(self._id, code)

    # ---- async iteration ---------------------------------------------------------------------

    def __aiter__(self) -> Call[S, R]:
        return self

    async def __anext__(self) -> R:
        if self._inbox and self._streak < FAIR_SHARE:
            self._streak += 1
            return self._take()
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message


def misuse(problem: str) -> ProtocolError:
    """The error for a caller that breaks the order of a call, as grpclib reports it."""
    return ProtocolError(problem)
