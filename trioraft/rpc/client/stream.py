"""The client's end of a call, in the shape of `grpclib.client.Stream`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from grpclib.const import Cardinality

from trioraft.rpc.metadata import Metadata, decode_metadata, encode_metadata
from trioraft.rpc.status import GRPCError, Status, read_status, status_from_http, status_from_reset
from trioraft.rpc.timeout import Deadline, encode_timeout
from trioraft.rpc.wire.call import Call, misuse
from trioraft.rpc.wire.http2 import ErrorCode, Http2Error
from trioraft.rpc.wire.receiving import FAIR_SHARE

if TYPE_CHECKING:
    from trioraft.rpc.peer import Peer

    from .channel import Channel
    from .connection import ClientConnection

S = TypeVar("S")
R = TypeVar("R")

_INFINITY = float("inf")
_DEADLINE_EXCEEDED = "deadline exceeded"


class ClientStream(Call[S, R]):
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

    _connection: ClientConnection
    _sent_request = False
    _sent_message = False
    _wants_response = False  # the waiting task is content with headers
    _got_response = False
    _got_trailers = False
    _cancelled = False
    _scope: trio.CancelScope | None = None
    _response: tuple[tuple[bytes, bytes], ...] = ()
    _trailers: tuple[tuple[bytes, bytes], ...] = ()
    _peeked_initial = False
    _peeked_trailing = False

    def __init__(
        self,
        channel: Channel,
        path: str,
        cardinality: Cardinality,
        send_type: type[Any],
        receive_type: type[Any],
        metadata: Metadata | None,
        deadline: Deadline | None,
    ) -> None:
        limits = channel.limits
        super().__init__(limits, send_type, receive_type, limits.max_receive_message)
        self._channel = channel
        self._path = path
        self._client_streaming, self._server_streaming = cardinality.value
        self._metadata = metadata
        #: The deadline given for this call, or None.
        self.deadline = deadline

    # ---- pushed in by the connection ---------------------------------------------------------

    def response_received(self, headers: tuple[tuple[bytes, bytes], ...], end: bool) -> None:
        """Response headers are here; with `end` they are the trailers too."""
        self._got_response = True
        self._response = headers
        fields = dict(headers)
        status = fields.get(b":status", b"")
        content_type = fields.get(b"content-type", b"")
        if b"grpc-status" not in fields and not content_type.startswith(b"application/grpc"):
            if status == b"200":
                text = content_type.decode("latin-1")
                self._abandon(GRPCError(Status.UNKNOWN, f"the reply is not gRPC: {text!r}"))
            else:
                self._abandon(status_from_http(status))
            return
        if end or b"grpc-status" in fields:
            self._got_trailers = True
            self._trailers = headers
            self._settle(read_status(headers))
            return
        encoding = fields.get(b"grpc-encoding", b"identity")
        if encoding != b"identity":
            name = encoding.decode("latin-1")
            self._abandon(
                GRPCError(Status.UNIMPLEMENTED, f"grpc-encoding {name!r} is not supported")
            )
            return
        if self._wants_response:
            self._wake_reader()

    def trailers_received(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The status is here."""
        self._got_trailers = True
        self._trailers = headers
        self._settle(read_status(headers))

    def _settle(self, outcome: GRPCError | Status) -> None:
        if self._failure is None and isinstance(outcome, GRPCError):
            self._failure = outcome
        self.end_received()

    def _abandon(self, error: GRPCError) -> None:
        """The reply is of no use: fail the call and stop the server."""
        self._failure = error
        self._reset()
        self._wake_reader()

    def refuse(self, error: GRPCError) -> None:
        """A message cannot be accepted: fail the call and stop the server."""
        super().refuse(error)
        if not self._ended:
            self._reset()

    def end_received(self) -> None:
        super().end_received()
        if not self._got_trailers and self._failure is None:
            self._failure = GRPCError(
                Status.INTERNAL, "the server ended the stream without a status"
            )

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        """The stream is gone: without a status, that is an error."""
        if not self._got_trailers:
            self._connection.streams_failed += 1
            if self._failure is None and cause is not None:
                self._failure = GRPCError(Status.RESOURCE_EXHAUSTED, f"not sent: {cause}")
            elif self._failure is None:
                self._failure = status_from_reset(code)
        if self._failure is not None:
            self._connection.calls_failed += 1
        super().stream_closed(code, cause)

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone and the call with it, unless it had ended already."""
        super().connection_lost(error)
        if not self._got_trailers:
            self._connection.streams_failed += 1
        if self._failure is not None:
            self._connection.calls_failed += 1

    def _progress(self) -> None:
        # A unary reply is of use only with its status: one wake-up for both.
        if self._server_streaming or self._failure is not None:
            super()._progress()

    # ---- sending -----------------------------------------------------------------------------

    async def send_request(self, *, end: bool = False) -> None:
        """Open the stream: connect if need be, send headers. `send_message` does it if need be.

        Waits for the connection and for a free stream on it; no checkpoint if both are there.
        Cancelled, or with the deadline passed already, nothing is sent.

        Args:
            end: Also end our direction: a streaming call without messages.

        Raises:
            GRPCError: UNAVAILABLE: no connection, and why. RESOURCE_EXHAUSTED: too many calls wait.
            ProtocolError: Sent already, or `end` on a call that takes one message.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_request:
            raise misuse("the request was sent already")
        if end and not self._client_streaming:
            raise misuse("a unary request takes a message before it ends")
        metadata = encode_metadata(self._metadata) if self._metadata else None
        at = trio.current_effective_deadline()  # minus infinity in a cancelled scope
        if self.deadline is not None:
            at = min(at, self.deadline.at)
        if at <= trio.current_time():
            await trio.lowlevel.checkpoint()
        connection = self._channel.connector.ready
        if connection is None:
            connection = await self._channel.connection()
        self._open(connection, metadata, at, end)

    def _open(
        self,
        connection: ClientConnection,
        metadata: list[tuple[bytes, bytes]] | None,
        deadline: float,
        end: bool,
    ) -> None:
        headers = self._channel.request_headers(self._path)
        if deadline != _INFINITY or metadata:
            headers = headers.copy()
            if deadline != _INFINITY:
                timeout = encode_timeout(deadline - trio.current_time())
                headers.append((b"grpc-timeout", timeout))
            if metadata:
                headers += metadata
        self._id = connection.open(self, headers, end_stream=end)
        self._connection = connection
        self._sent_request = True
        self._sent_end = end

    async def send_message(self, message: S, *, end: bool = False) -> None:
        """Send one message; `end` ends our direction, a unary request does so by itself.

        Waits for a connection if the call is not open yet, and while more than
        `Limits.max_queued_bytes` of this call are unsent; gives way after 64 messages without
        waiting; else no checkpoint. Cancelled while waiting, the message is not sent. Once the
        server has ended the call with OK, further messages are dropped.

        Raises:
            GRPCError: The call has ended with this status. RESOURCE_EXHAUSTED: over the limit.
            ProtocolError: A second unary message, or our direction is ended.
            TypeError: Not a message of the method's request type.
        """
        self._check_order()
        data = self._encode(message)
        if not self._sent_request:
            await self.send_request()
        elif self._streak >= FAIR_SHARE or self._queued > self._max_queued:
            await self._pace()
        self._send(data, end)

    def send_message_nowait(self, message: S, *, end: bool = False) -> None:
        """Queue one message without ever waiting, on a call that is open (`send_request`).

        Raises:
            trio.WouldBlock: Too much is queued; `wait_writable` first.
            GRPCError, ProtocolError, TypeError: As `send_message`.
        """
        self._check_order()
        if not self._sent_request:
            raise misuse("send_request() first")
        if self.crowded:
            raise trio.WouldBlock
        self._send(self._encode(message), end)

    def queue_message(self, message: S) -> None:
        """As `send_message_nowait`, on a call that streams requests, for the caller to `flush`.

        It must do so before anything else runs: nothing sends the message otherwise.
        """
        self._check_order()
        if not self._sent_request:
            raise misuse("send_request() first")
        if self.crowded:
            raise trio.WouldBlock
        self._send(self._encode(message), False, wake=False)

    def _check_order(self) -> None:
        if self._sent_end:
            raise misuse("our direction of the stream is ended")
        if self._cancelled:
            raise misuse("the call was cancelled")

    def _send(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        if self._failure is not None:
            self._raise_failure()
        if self._closed or self._got_trailers:
            return
        self._sent_message = True
        self._put(data, end or not self._client_streaming, wake=wake)

    async def end(self) -> None:
        """End our direction of the stream. Never waits.

        Raises:
            ProtocolError: Not open yet, ended already, or a unary request without its message.
            GRPCError: UNAVAILABLE: the connection has just gone.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if not self._client_streaming:
            if not self._sent_message:
                raise misuse("a unary request takes a message before it ends")
            return
        if self._sent_end:
            raise misuse("our direction of the stream is ended already")
        self._sent_end = True
        if not self._closed:
            try:
                self._connection.engine.end_stream(self._id)
            except Http2Error as error:
                raise self._cannot_send(error) from error
            self._connection.mark_dirty()

    async def cancel(self) -> None:
        """Reset the stream (CANCEL); leaving the block then raises nothing. Never waits.

        Raises:
            ProtocolError: Not open yet, or done already.
        """
        if not self._sent_request:
            raise misuse("the request was not sent")
        if self._cancelled:
            raise misuse("the call was cancelled already")
        self._cancelled = True
        self._failure = self._failure or GRPCError(Status.CANCELLED, "cancelled by the caller")
        self._reset()
        self._wake_reader()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

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
        message = await self._receive()
        if message is None and not self._taken and not self._server_streaming:
            raise GRPCError(Status.INTERNAL, "the server ended a unary call without a reply")
        return message

    async def recv_initial_metadata(self) -> None:
        """Wait for the response headers; then `initial_metadata` is there.

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

        Messages that nobody took are dropped.

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

    @property
    def initial_metadata(self) -> Metadata | None:
        """The server's initial metadata (empty if it sent trailers only); None until it is here."""
        if not self._got_response:
            return None
        return decode_metadata(() if self._trailers is self._response else self._response)

    @property
    def trailing_metadata(self) -> Metadata | None:
        """The server's trailing metadata; None until it is here."""
        return decode_metadata(self._trailers) if self._got_trailers else None

    @property
    def peer(self) -> Peer | None:
        """The server's address; None until the request is sent."""
        return self._connection.peer if self._sent_request else None

    # ---- the block ---------------------------------------------------------------------------

    async def __aenter__(self) -> ClientStream[S, R]:
        if self.deadline is not None:
            self._scope = trio.CancelScope(deadline=self.deadline.at)
            self._scope.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = error
        if error is None and self._sent_request and not self._cancelled:
            try:
                if not self._peeked_trailing:
                    await self.recv_trailing_metadata()
            except BaseException as problem:
                outcome = problem
        if self._sent_request and not self._closed:
            self._leave()
        if self._scope is not None:
            self._scope.__exit__(
                type(outcome) if outcome is not None else None,
                outcome,
                outcome.__traceback__ if outcome is not None else None,
            )
            if self._scope.cancelled_caught:
                raise GRPCError(Status.DEADLINE_EXCEEDED, _DEADLINE_EXCEEDED) from None
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

    @property
    def _expired(self) -> bool:
        return self.deadline is not None and self.deadline.time_remaining() <= 0
