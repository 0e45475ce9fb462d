"""What a client's call learns of its answer: headers, trailers, and how the stream ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from trioraft.rpc.compression.settings import ACCEPT, ENCODING
from trioraft.rpc.metadata import Metadata, decode_metadata
from trioraft.rpc.status import GRPCError, Status, read_status, status_from_http, status_from_reset
from trioraft.rpc.wire.call import Call
from trioraft.rpc.wire.framing import Deframer
from trioraft.rpc.wire.http2 import ErrorCode

if TYPE_CHECKING:
    from grpclib.const import Cardinality

    from trioraft.rpc.client.channel import Channel
    from trioraft.rpc.client.config.plans import CallPlan
    from trioraft.rpc.client.connections.connection import ClientConnection
    from trioraft.rpc.peer import Peer
    from trioraft.rpc.timeout import Deadline

S = TypeVar("S")
R = TypeVar("R")

_OK = ((b"grpc-status", b"0"),)
# Of response headers that a connection remembers: with more there is something new in them.
_USUAL_FIELDS = 8


class AnsweredCall(Call[S, R]):
    """The part of a `ClientStream` that its connection's reader task pushes into. Internal."""

    #: Whether the call waits while no connection is to be had; None is as the channel does.
    wait_for_ready: bool | None = None
    #: The deadline given for this call, or None.
    deadline: Deadline | None = None

    _connection: ClientConnection
    _metadata: Metadata | None = None
    _sent_request = False
    _sent_message = False
    _wants_response = False  # the waiting task is content with headers
    _got_response = False
    _got_trailers = False
    _cancelled = False
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
        self._cardinality = cardinality
        if metadata is not None:
            self._metadata = metadata
        if deadline is not None:
            self.deadline = deadline

    def follow(self, plan: CallPlan) -> None:
        """Be made as the channel's service config says of this method; before anything is sent."""
        if plan.limits is not self._limits:
            self._limits = plan.limits
            self._deframer = Deframer(plan.limits.max_receive_message)
        if self.wait_for_ready is None:
            self.wait_for_ready = plan.wait_for_ready

    # ---- pushed in by the connection ---------------------------------------------------------

    def response_received(self, headers: tuple[tuple[bytes, bytes], ...], end: bool) -> None:
        """Response headers are here; with `end` they are the trailers too."""
        self._got_response = True
        self._response = headers
        connection = self._connection
        if headers == connection.usual_response and not end and self._encoder is None:
            if self._wants_response:
                self._wake_reader()
            return
        fields = dict(headers)
        status = fields.get(b":status", b"")
        content_type = fields.get(b"content-type", b"")
        if self._encoder is not None and ACCEPT in fields:
            connection.accepted_encodings = fields[ACCEPT]
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
        if ENCODING in fields:
            self._expect(fields[ENCODING])
        elif len(headers) <= _USUAL_FIELDS:
            connection.usual_response = headers
        if self._wants_response:
            self._wake_reader()

    def _expect(self, encoding: bytes) -> None:
        """Messages may be compressed with this; which is no problem until one is."""
        if encoding != b"identity":
            compression = self._channel.compression
            codec = compression.find(encoding)
            if codec is not None:
                self.expect_compressed(codec)
            else:
                self._deframer.expect_unknown(encoding.decode("latin-1"), compression.known)

    def trailers_received(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The status is here."""
        self._got_trailers = True
        self._trailers = headers
        self._settle(Status.OK if headers == _OK else read_status(headers))

    def _settle(self, outcome: GRPCError | Status) -> None:
        if self._failure is None:
            if isinstance(outcome, GRPCError):
                self._failure = outcome
            elif len(self._inbox) + self._taken > 1 and not self._cardinality.server_streaming:
                self._inbox.clear()
                self._failure = GRPCError(
                    Status.INTERNAL, "the server sent more than one reply to a call that has one"
                )
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
            if self._unprocessed(code, cause):
                self._connection.calls_failed += 1
                return
            if self._failure is None and cause is not None and code != ErrorCode.REFUSED_STREAM:
                self._failure = GRPCError(Status.RESOURCE_EXHAUSTED, f"not sent: {cause}")
            elif self._failure is None:
                self._failure = status_from_reset(code)
        if self._failure is not None:
            self._connection.calls_failed += 1
        super().stream_closed(code, cause)

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone and the call with it, unless it had ended already."""
        if not self._got_trailers:
            self._connection.streams_failed += 1
            if self._unsent():
                self._connection.calls_failed += 1
                return
        super().connection_lost(error)
        if self._failure is not None:
            self._connection.calls_failed += 1

    def _unprocessed(self, code: int, cause: Exception | None) -> bool:
        """Whether a stream that has ended so was seen by no server, and is to be opened again."""
        return False

    def _unsent(self) -> bool:
        """The same for one whose connection is lost: its headers never left us."""
        return False

    def _progress(self) -> None:
        # A unary reply is of use only with its status: one wake-up for both.
        if self._cardinality.server_streaming or self._failure is not None:
            super()._progress()

    # ---- for the application -----------------------------------------------------------------

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
