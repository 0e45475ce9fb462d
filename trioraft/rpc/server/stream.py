"""The server's end of a call: what a handler gets, in the shape of `grpclib.server.Stream`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import trio

from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.compression.settings import ACCEPT, ENCODING, accepted_by
from trioraft.rpc.metadata import Metadata, MetadataLike, decode_metadata, encode_metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import GRPCError, Status, status_headers
from trioraft.rpc.timeout import Deadline
from trioraft.rpc.wire.call import Call, misuse
from trioraft.rpc.wire.http2 import ErrorCode, Http2Error
from trioraft.rpc.wire.receiving import FAIR_SHARE

if TYPE_CHECKING:
    from .connection import ServerConnection
    from .service import Method

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")

RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
OK = [(b"grpc-status", b"0")]
_PUSHBACK = b"grpc-retry-pushback-ms"


class ServerStream(Call[S, R]):
    """One call, as its handler sees it: `ServerStream[what it sends, what it receives]`.

    Runs in its own cancel scope, whose deadline is the caller's. The scope is cancelled when the
    caller resets the stream or its connection ends: the handler sees `trio.Cancelled`.

    Beyond grpclib's interface: `send_message_nowait`, `queue_message`, `flush`, `wait_writable`,
    `crowded`, `recv_message_nowait`, `receive_available`, `deliver`, `limit_time`,
    `set_trailing_metadata`, `add_trailing_metadata`, `set_compression`, `push_back`,
    `previous_attempts`.
    """

    _connection: ServerConnection
    _sent_headers = False
    _sent_message = False
    _sent_trailers = False
    _not_ok = False  # ended with anything but OK
    _agreed = False  # the response headers are to say something about compression
    _overdue: GRPCError | None = None
    _extra_trailers: list[tuple[bytes, bytes]] | None = None  # the two below together
    _set_trailers: Sequence[tuple[bytes, bytes]] = ()
    _added_trailers: Sequence[tuple[bytes, bytes]] = ()
    started = False

    def __init__(
        self,
        connection: ServerConnection,
        stream_id: int,
        method: Method,
        headers: tuple[tuple[bytes, bytes], ...],
        deadline: Deadline | None,
    ) -> None:
        handler = method.handler
        super().__init__(
            connection.limits, handler.reply_type, handler.request_type, method.max_receive_message
        )
        self._connection = connection
        self._id = stream_id
        #: The path of the method: `/package.Service/Method`.
        self.method_name = method.path
        self.method = method
        self._handler = handler
        self._headers = headers
        self._scope: trio.CancelScope | None = None  # while the handler runs
        self._abandoned = False
        #: When the caller wants an answer, or None.
        self.deadline = deadline

    # ---- what the caller sent ----------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """The caller's metadata: a fresh multidict."""
        return decode_metadata(self._headers)

    @property
    def peer(self) -> Peer:
        """The caller's address and certificate."""
        return self._connection.peer

    @property
    def user_agent(self) -> str | None:
        """The caller's user agent."""
        return self._header(b"user-agent")

    @property
    def authority(self) -> str | None:
        """What the caller calls this server: host and port as a rule (`:authority`)."""
        return self._header(b":authority")

    @property
    def content_type(self) -> str | None:
        """The request's content type."""
        return self._header(b"content-type")

    @property
    def previous_attempts(self) -> int:
        """How often the caller has tried before, as far as it says; 0 for a first attempt."""
        said = self._header(b"grpc-previous-rpc-attempts") or ""
        return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0

    def _header(self, wanted: bytes) -> str | None:
        for name, value in self._headers:
            if name == wanted:
                return value.decode("latin-1")
        return None

    async def recv_message(self) -> R | None:
        """Wait for the next message; None when the caller has ended its stream.

        A checkpoint only if it has to wait, or after 64 messages without waiting. Cancelling takes
        nothing.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message over the limit, INTERNAL for one that
                cannot be inflated or decoded, CANCELLED if the caller went away. Left to rise,
                it becomes the call's status.
        """
        message = await self._receive()
        if message is None and not self._taken and not self._handler.cardinality.client_streaming:
            raise GRPCError(Status.INTERNAL, "the caller ended a unary call without a request")
        return message

    def _undecodable(self, error: Exception) -> GRPCError:
        self._connection.warn("%s: %s", self.method_name, error)
        return super()._undecodable(error)

    # ---- answering ---------------------------------------------------------------------------

    async def send_initial_metadata(self, *, metadata: MetadataLike | None = None) -> None:
        """Send the response headers. `send_message` does it if this did not. Never waits.

        Raises:
            ProtocolError: They are sent already.
            GRPCError: CANCELLED: the caller went away.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_headers or self._sent_trailers:
            raise misuse("initial metadata was sent already")
        self._require_open()
        self._send_headers(encode_metadata(metadata) if metadata else [])

    def _send_headers(self, extra: list[tuple[bytes, bytes]]) -> None:
        headers = self._response(extra) if extra or self._agreed else RESPONSE
        try:
            self._connection.engine.send_response(self._id, headers)
        except Http2Error as error:
            raise self._cannot_send(error) from error
        self._sent_headers = True
        self._connection.mark_dirty()

    def agree(self, decoder: Codec | None, encoder: Codec | None) -> None:
        """What the caller's messages may be compressed with, and what ours are."""
        self._agreed = True
        if decoder is not None:
            self.expect_compressed(decoder)
        self._encoder = encoder

    def set_compression(self, name: str) -> None:
        """Send with this encoding, in place of the server's own choice; `"identity"` is none.

        Before the response headers are sent. What the caller does not accept is sent
        uncompressed. Never waits.

        Raises:
            ValueError: The encoding is not known to this server.
            ProtocolError: The headers were sent already.
        """
        codec = self._connection.compression.choose(name)
        if self._sent_headers or self._sent_trailers:
            raise misuse("initial metadata, which names the encoding, was sent already")
        accepts = dict(self._headers).get(ACCEPT, b"")
        self._encoder = codec if codec is not None and accepted_by(accepts, codec) else None
        self._agreed = True

    def _response(self, extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        if not self._agreed:
            return RESPONSE + extra
        said = [self._connection.compression.accept]
        if self._encoder is not None:
            said.append((ENCODING, self._encoder.name.encode("ascii")))
        return RESPONSE + said + extra

    async def send_message(self, message: S, *, compress: bool = True) -> None:
        """Send one message; `compress=False` sends it uncompressed on a call with compression.

        A large message is compressed in slices, between which others run.

        Waits first while more than `Limits.max_queued_bytes` of this call are unsent, and gives
        way after 64 messages without waiting; else no checkpoint. Cancelled while waiting, the
        message is not sent.

        Raises:
            ProtocolError: A second message of a unary reply, or the call has ended.
            GRPCError: RESOURCE_EXHAUSTED: over the size limit. CANCELLED: the caller went away.
            TypeError: Not a message of the method's reply type.
        """
        if self._streak >= FAIR_SHARE or self._queued > self._max_queued:
            await self._pace()
        data = self._encode(message)
        if self._encoder is not None and compress:
            data = await self._compress(data)
        self._send(data)

    def send_message_nowait(self, message: S, *, compress: bool = True) -> None:
        """Queue one message without ever waiting: all of a scheduler pass leave in one send.

        On a call with compression it is compressed at once, however large.

        Raises:
            trio.WouldBlock: Too much is queued; `wait_writable` first.
            ProtocolError, GRPCError, TypeError: As `send_message`.
        """
        if self.crowded:
            raise trio.WouldBlock
        data = self._encode(message)
        if self._encoder is not None and compress:
            data = self._compress_now(data)
        self._send(data)

    def queue_message(self, message: S) -> None:
        """As `send_message_nowait`, for the caller to `flush` before anything else runs."""
        if self.crowded:
            raise trio.WouldBlock
        self._send(self._compress_now(self._encode(message)), wake=False)

    def _send(self, data: bytes, *, wake: bool = True) -> None:
        if self._sent_trailers:
            raise misuse("the call has ended: trailing metadata was sent")
        if self._sent_message and not self._handler.cardinality.server_streaming:
            raise misuse("a unary reply was sent already")
        if self._closed:
            self._require_open()
        if not self._sent_headers:
            self._send_headers([])
        self._put(data, False, wake=wake)
        self._sent_message = True

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: object = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        """End the call with a status. Without it, returning ends it with OK. Never waits.

        Args:
            status_details: A serialized `google.rpc.Status`, or the message itself.

        Raises:
            ProtocolError: Sent already, or OK for a unary call without its reply.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_trailers:
            raise misuse("trailing metadata was sent already")
        unary = not self._handler.cardinality.server_streaming
        if unary and status is Status.OK and not self._sent_message:
            raise misuse("OK for a unary call needs a reply first")
        headers = status_headers(
            status, status_message, status_details, limit=self._limits.max_status
        )
        extra = encode_metadata(metadata) if metadata else []
        self._require_open()
        self._not_ok = status is not Status.OK
        self._finish(headers, extra)

    def set_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the status, whichever way the call comes to end.

        Replaces what an earlier call of this has set; what `send_trailing_metadata` is given comes
        after it. Does nothing if the status has been sent. Never waits.

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        self._set_trailers = encode_metadata(metadata)
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]

    def push_back(self, seconds: float | None) -> None:
        """Tell a caller that may try again when to: `seconds` from now; None is never.

        It goes with the status, if that is not OK and nothing was sent before it: callers follow
        no other (gRFC A6, "Pushback"). Replaces what an earlier call has said. Never waits.

        Raises:
            ValueError: Negative, or more than 2**31 - 1 milliseconds.
        """
        milliseconds = -1 if seconds is None else round(seconds * 1000)
        if seconds is not None and not 0 <= milliseconds < 2**31:
            raise ValueError(f"pushback must be between 0 and 2147483.647 s, not {seconds!r}")
        others = [pair for pair in self._added_trailers if pair[0] != _PUSHBACK]
        self._added_trailers = [*others, (_PUSHBACK, b"%d" % milliseconds)]
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]

    def add_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the status besides what is set: for those around the handler.

        Stays when `set_trailing_metadata` is called. Replaces what an earlier call of this has
        added under the same names. Does nothing if the status has been sent. Never waits.

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        added = encode_metadata(metadata)
        names = {name for name, _ in added}
        kept = [field for field in self._added_trailers if field[0] not in names]
        self._added_trailers = kept + added
        self._extra_trailers = [*self._set_trailers, *self._added_trailers]

    def limit_time(self, seconds: float, overdue: GRPCError) -> None:
        """The server's own bound on this call: past it the handler is cancelled and the caller
        gets `overdue`. Does nothing if the caller's deadline is earlier. Costs no cancel scope of
        its own: the call has one already. Never waits.
        """
        at = trio.current_time() + seconds
        if self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at
            self._overdue = overdue

    async def cancel(self) -> None:
        """Reset the stream: the caller gets CANCELLED. Never waits.

        Raises:
            ProtocolError: Done already.
        """
        if self._reset_sent:
            raise misuse("the stream was cancelled already")
        self._sent_trailers = self._not_ok = True
        self._connection.streams_failed += 1
        self._reset()

    def _require_open(self) -> None:
        if self._closed or self._reset_sent:
            raise GRPCError(Status.CANCELLED, "the caller went away")

    # ---- running the handler -----------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a handler that takes one request would not have to wait for it."""
        return bool(self._inbox) or self._ended or self._failure is not None

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        """The stream is gone; unless it ended in order, the handler is cancelled."""
        super().stream_closed(code, cause)
        if cause is not None:
            self._connection.warn("%s: reply not sent: %s", self.method_name, cause)
        if code or not self._sent_trailers:
            self._failure = self._failure or GRPCError(Status.CANCELLED, "the caller went away")
            self._abandoned = True
            if self._scope is not None:
                self._scope.cancel()
            if cause is not None or not self._sent_trailers:
                self._not_ok = True
                self._connection.streams_failed += 1
        if self._not_ok:
            self._connection.calls_failed += 1

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone; its nursery cancels the handler."""
        super().connection_lost(error)
        if not self._sent_trailers:
            self._not_ok = True
            self._connection.streams_failed += 1
        if self._not_ok:
            self._connection.calls_failed += 1

    async def run(self, scope: trio.CancelScope) -> None:
        """Run the handler in the call's scope and turn what it raises into a status.

        Cancelling it cancels the handler.
        """
        self._scope = scope
        if self.deadline is not None:
            scope.deadline = self.deadline.at
        if self._abandoned:
            scope.cancel()  # before it began: the handler still sees it
        try:
            await self._handler.func(self)
        except GRPCError as error:
            self.fail(error)
        except Exception as error:
            self.crashed(error)
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            if errors is not None:
                self.crashed(errors)
            if rest is not None:
                raise rest from None

    def finished(self, *, cancelled: bool) -> None:
        """The handler has ended. From here on nothing cancels the scope, which is not ours now."""
        self._scope = None
        self._returned(cancelled)
        self._connection.handler_done()

    def _returned(self, cancelled: bool) -> None:
        if self._closed or self._sent_trailers:
            return
        if cancelled:
            self.fail(self._overdue or GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded"))
        elif self._sent_message or self._handler.cardinality.server_streaming:
            self._finish(OK)
        else:
            log.error("%s: the handler returned without a reply", self.method_name)
            self.fail(GRPCError(Status.UNKNOWN, "Internal Server Error"))

    def crashed(self, error: BaseException) -> None:
        """End the call as if its handler had raised `error`. Never waits."""
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]  # a status raised inside a handler's nursery
        if not isinstance(error, GRPCError):
            log.error("%s: the handler failed", self.method_name, exc_info=error)
            error = GRPCError(Status.UNKNOWN, "Internal Server Error")
        self.fail(error)

    def fail(self, error: GRPCError) -> None:
        """End the call with the error's status, if it has not ended yet."""
        if self._closed or self._sent_trailers:
            return
        if error.status is Status.OK:
            error = GRPCError(Status.UNKNOWN, f"the handler raised OK: {error.message}")
        self._not_ok = True
        limit = self._limits.max_status
        try:
            headers = status_headers(error.status, error.message, error.details, limit=limit)
        except TypeError as problem:
            log.error("%s: %s", self.method_name, problem)
            headers = status_headers(error.status, error.message, limit=limit)
        self._finish(headers)

    def _finish(
        self, trailers: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]] | None = None
    ) -> None:
        engine = self._connection.engine
        self._sent_trailers = True
        if self._extra_trailers:
            trailers = trailers + self._extra_trailers
        if extra:
            trailers = trailers + extra
        try:
            if self._sent_headers:
                engine.send_trailers(self._id, trailers)
            else:
                engine.send_response(self._id, self._response(trailers), end_stream=True)
        except Http2Error as error:
            log.info("%s: no way to answer %s: %s", self.method_name, self.peer, error)
            return
        if not self._ended:
            self._stop_caller()
        self._connection.mark_dirty()

    def _stop_caller(self) -> None:
        """The caller may still be sending: tell it to stop, behind the status."""
        self._discard()
        self._connection.reset_when_sent(self._id, ErrorCode.NO_ERROR)
