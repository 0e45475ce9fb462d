"""The receiving half of a call: DATA in, messages out.

A connection's reader task pushes DATA in by plain method calls (`data_received`, `end_received`,
`stream_closed`, `connection_lost`), which park messages in an inbox and wake the application's task
at most once per socket read. How that task waits for them is in `taking.py`.

Their bytes are acknowledged as they are taken: see `flow.py`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from trioraft.rpc.compression.bounded import Inflation
from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.status import GRPCError, Status

from .flow import NEVER
from .framing import PREFIX_SIZE, Deframer
from .taking import Taking

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

__all__ = ["Receiving"]

R = TypeVar("R")


class Receiving(Taking[R]):
    """What a call has of its peer. `Call` adds the sending half."""

    _taken = False  # a message was
    #: Whether the message taken last was compressed on its way here.
    message_compressed: bool = False

    def __init__(self, limits: Limits, receive_type: type[Any], max_receive: int) -> None:
        self._limits = limits
        self._receive_type = receive_type
        self._decode = receive_type.FromString
        self._inbox = deque()
        self._deframer = Deframer(max_receive)
        self._acknowledge_at = limits.stream_window // 4
        # Asked for each message, so on the call itself: its class takes longer to look at.
        self._inflating = False  # received messages may be compressed

    # ---- pushed in by the connection's reader task -------------------------------------------

    def expect_compressed(self, codec: Codec) -> None:
        """The peer's headers say that its messages may be compressed with this."""
        self._deframer.expect(codec)
        self._inflating = True
        if self._sink is not None:
            self._wake_reader()  # `deliver` goes on in its own task

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
                elif self._sink is not None:
                    self._connection.deliver_later(self)
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
        if self._credit:
            self._release_held()
        if self._unacknowledged:
            # The stream has no window left to reopen, but the connection has.
            self._connection.acknowledge(self._id, self._unacknowledged)
            self._unacknowledged = self._free = 0
        self._narrow()
        self._acknowledge_at = NEVER
        if self._reader is not None:
            self._wake_reader()

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone and the call with it, unless it had ended already."""
        self._closed = True
        self._acknowledge_at = NEVER
        if self._failure is None and not self._ended:
            self._failure = error
        self._wake_reader()

    def _progress(self) -> None:
        """Data has come, but not the end: wake the waiting reader if there is something for it."""
        if (self._inbox and self._sink is None) or self._failure is not None:
            self._wake_reader()

    # ---- taken out by the application's task -------------------------------------------------

    def _take(self) -> R:
        """The first message, which is inflated if it was compressed."""
        data = self._inbox.popleft()
        self._taken = True
        self._connection.messages_received += 1
        if not self._discarding:
            self._free += len(data) + PREFIX_SIZE
            if self._credit:
                self._free -= self._credit
                self._release_held()
            if not self._inbox and self._free != self._unacknowledged:
                self._release_incomplete()
            if self._free >= self._acknowledge_at:
                self._acknowledge()
        if self._inflating:
            self.message_compressed = isinstance(data, Inflation)
            if isinstance(data, Inflation):
                data = data.result()
        try:
            message: R = self._decode(data)
        except Exception as error:
            raise self._undecodable(error) from error
        return message

    def _undecodable(self, error: Exception) -> GRPCError:
        return GRPCError(Status.INTERNAL, f"cannot decode {self._receive_type.__name__}: {error}")
