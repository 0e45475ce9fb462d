"""What both ends of a call share: the receiving half, and here the sending half.

A call lives on one HTTP/2 stream. Sending puts bytes into the engine and marks the connection
dirty; the connection's writer task takes them to the socket. What is queued and not yet taken is
bounded: senders wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

from trioraft.rpc.compression.bounded import Compressed, compress, compress_now
from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.status import GRPCError, ProtocolError, Status

from .blocks import expect_blocks
from .flow import FAIR_SHARE
from .framing import PREFIX_SIZE, Encoded, Message, pack_prefix
from .http2 import ErrorCode, Http2Error
from .receiving import Receiving

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

S = TypeVar("S")
R = TypeVar("R")

# Above this it is cheaper to queue the prefix alone than to copy the message behind it.
_JOIN_BELOW = 32 * 1024


class Call(Receiving[R], Generic[S, R]):
    """One end of a call. Internal: users see `ServerStream` and `ClientStream`.

    What a usual unary call does not need is a default of the class: up to 30 attributes CPython
    keeps in the object, with one more each call gets a dictionary, which takes longer to fill.
    """

    _reset_sent = False  # RST_STREAM is queued
    _sent_end = False  # our direction is ended
    _writer: Task | None = None
    _queued = 0  # at least the unsent bytes of ours; exact when last compared with the engine
    _encoder: Codec | None = None  # what our messages are compressed with

    def __init__(
        self, limits: Limits, send_type: type[Any], receive_type: type[Any], max_receive: int
    ) -> None:
        super().__init__(limits, receive_type, max_receive)
        self._send_type = send_type

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        super().stream_closed(code, cause)
        if self._writer is not None:
            self._wake_writer()

    def connection_lost(self, error: GRPCError) -> None:
        super().connection_lost(error)
        self._wake_writer()

    # ---- waiting -----------------------------------------------------------------------------

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
        if queued <= self._limits.max_queued_bytes // 2:
            self._wake_writer()

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

    def compress_with(self, codec: Codec | None) -> None:
        """What our messages are compressed with, before the headers that name it are sent."""
        self._encoder = codec

    def _compress_now(self, data: bytes) -> bytes:
        """`data` as it goes out on a call that compresses, however long that takes."""
        return data if self._encoder is None else compress_now(data, self._encoder)

    async def _compress(self, data: bytes) -> bytes:
        """As `_compress_now`, giving way now and then if it is large."""
        return data if self._encoder is None else await compress(data, self._encoder)

    @property
    def flush(self) -> Callable[[], None]:
        """`call.flush()` sends what its connection has queued at once; the rest follows by itself.

        Without it, everything queued leaves after the current pass of the scheduler, together.
        Equal for all calls of a connection, so that each needs to be flushed but once. Never
        waits. Raises nothing: a lost connection shows in the next send.
        """
        return self._connection.flush

    def _put(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        """Queue one message. The caller has checked that our direction is open.

        Without `wake`, a `flush` follows before anything else runs.
        """
        connection = self._connection
        size = len(data)
        flag = type(data) is Compressed
        try:
            if size < _JOIN_BELOW:
                prefix = pack_prefix(flag, size)
                connection.engine.send_data(self._id, prefix + data, end_stream=end)
            else:
                expect_blocks(size)
                connection.engine.send_data(self._id, pack_prefix(flag, size))
                # The engine takes no subclass of bytes.
                plain = bytes(data) if flag else data
                connection.engine.send_data(self._id, plain, end_stream=end)
        except Http2Error as error:
            raise self._cannot_send(error) from error
        connection.messages_sent += 1
        self._streak += 1
        self._queued += size + PREFIX_SIZE
        self._sent_end = end
        if wake and not connection.dirty:
            connection.mark_dirty()

    def _cannot_send(self, error: Http2Error) -> GRPCError:
        """For the moment between the session's end and the news of it reaching this call."""
        return GRPCError(Status.UNAVAILABLE, f"{self._connection.name}: {error}")

    @property
    def crowded(self) -> bool:
        """Whether more of ours is queued than may be: sending would wait. Asks the engine if so."""
        if self._queued <= self._limits.max_queued_bytes or self._closed:
            return False
        self._queued = self._connection.engine.queued_body_size(self._id)
        return self._queued > self._limits.max_queued_bytes

    async def _pace(self) -> None:
        """Wait while too much is queued, and give way now and then when it is not."""
        if self._streak >= FAIR_SHARE:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        if self.crowded:
            await self.wait_writable()

    async def wait_writable(self) -> None:
        """Wait until this call may queue another message; return at once if it may already.

        Also returns when the call has ended, so that the next send reports it. One task at a
        time. Cancelling it changes nothing.

        Raises:
            trio.BusyResourceError: Another task is waiting already.
        """
        while self.crowded:
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


def misuse(problem: str) -> ProtocolError:
    """The error for a caller that breaks the order of a call, as grpclib reports it."""
    return ProtocolError(problem)
