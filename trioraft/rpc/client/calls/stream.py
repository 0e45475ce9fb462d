"""The client's end of a call, in the shape of `grpclib.client.Stream`."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.call import misuse
from trioraft.rpc.wire.http2 import ErrorCode

from .sending import SendingCall
from .timing import DEADLINE_EXCEEDED

S = TypeVar("S")
R = TypeVar("R")


class ClientStream(SendingCall[S, R]):
    """One call, as the caller sees it: `ClientStream[what it sends, what it receives]`.

    An async context manager: the call lives as long as the block. Leaving it waits for the
    status, and raises GRPCError if that is not OK; leaving it by an exception, a Trio cancellation
    included, resets the stream (CANCEL), which cancels the server's handler.

    A deadline (`timeout=`, `deadline=`) is a cancel scope around the block: when it passes,
    whatever the block waits for ends and the block raises GRPCError(DEADLINE_EXCEEDED). Deadlines
    of Trio scopes around the call are sent to the server too, but act as they always do here.

    Receiving raises a bad status as soon as the messages before it are taken, so a stream that
    failed never looks like one that ended. Beyond grpclib's interface: `send_message_nowait`,
    `queue_message`, `flush`, `wait_writable`, `crowded`, `recv_message_nowait`,
    `receive_available`, `deliver`.
    """

    # ---- receiving ---------------------------------------------------------------------------

    async def recv_message(self) -> R | None:
        """Wait for the next message; None when the server has ended the call with OK.

        A checkpoint only if it has to wait, or after 64 messages without waiting. Cancelling takes
        nothing.

        Raises:
            GRPCError: The call's status if not OK; UNAVAILABLE: the connection is lost;
                RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL: a message that cannot be accepted.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if self._cardinality.server_streaming:
            return await self._receive()
        # A unary reply wakes its reader once, with its status: no more coroutines than it takes.
        if not self._inbox and not self._ended and self._failure is None:
            await self._wait_readable()
        message = await self._receive() if self._inflating or not self._inbox else self._take()
        if message is None and not self._taken:
            raise GRPCError(Status.INTERNAL, "the server ended a unary call without a reply")
        return message

    async def recv_initial_metadata(self) -> None:
        """Wait for the response headers; then `initial_metadata` is there.

        Cancelled, it can be called again.

        Raises:
            GRPCError: As `recv_message`.
            ProtocolError: Not open yet, or received already.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if self._peeked_initial:
            raise misuse("initial metadata was received already")
        while not self._got_response:
            self._raise_failure()
            self._wants_response = True
            try:
                await self._wait_readable()
            finally:
                self._wants_response = False
        self._peeked_initial = True
        if self._trailers is self._response:
            self._raise_failure()

    async def recv_trailing_metadata(self) -> None:
        """Wait for the end of the call; then `trailing_metadata` is there.

        Messages that nobody took are dropped. Cancelled, it can be called again; what has arrived
        until then is gone.

        Raises:
            GRPCError: The call's status if not OK, or why there is none.
            ProtocolError: Our direction is not ended yet, or received already.
        """
        if not self._sent_end and not self._ended and self._failure is None:
            raise misuse("our direction of the stream is not ended")
        if self._peeked_trailing:
            raise misuse("trailing metadata was received already")
        self._inbox.clear()
        if not self._ended:
            self._discard()
        while not self._ended and self._failure is None:
            await self._wait_readable()
        self._peeked_trailing = True
        self._raise_failure()

    # ---- the block ---------------------------------------------------------------------------

    async def __aenter__(self) -> ClientStream[S, R]:
        """Begin the block, and the watch over the call's deadline. Never waits."""
        if self.deadline is not None:
            self._begin_clock()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the block: wait for the status, unless it was received, or by an exception.

        Cancelled meanwhile, as when an exception ends the block, the stream is reset at once: no
        more than that is waited for.

        Raises:
            GRPCError: The call's status if not OK; DEADLINE_EXCEEDED if its own deadline passes.
            ProtocolError: Our direction is not ended; the stream is reset.
        """
        outcome = error
        if error is None and self._sent_request and not self._cancelled:
            try:
                if self._ended and self._failure is None:
                    self._inbox.clear()
                elif not self._peeked_trailing:
                    await self.recv_trailing_metadata()
            except BaseException as problem:
                outcome = problem
        if self._sent_request and (not self._closed or self._unseen):
            self._leave()
        if self._timer:
            self._stop_timer()
        if self._scope is not None:
            self._scope.__exit__(
                type(outcome) if outcome is not None else None,
                outcome,
                outcome.__traceback__ if outcome is not None else None,
            )
            if self._scope.cancelled_caught:
                raise GRPCError(Status.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED) from None
        if outcome is not error and outcome is not None:
            raise outcome

    def _leave(self) -> None:
        """The block ends and the stream is still open: at least for our own direction."""
        if self._failure is None and not self._ended:
            status = Status.DEADLINE_EXCEEDED if self._expired else Status.CANCELLED
            self._failure = GRPCError(status, "the call's block has ended")
        if not (self._ended and self._sent_end):
            self._reset(ErrorCode.NO_ERROR if self._ended else ErrorCode.CANCEL)
        self._wake_reader()
        self._wake_writer()
