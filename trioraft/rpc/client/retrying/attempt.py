"""One attempt of a call that may have several: a stream, until somebody answers on it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from trioraft.rpc.client.calls.opening import OpeningCall
from trioraft.rpc.status import GRPCError, Status, read_status, status_from_http
from trioraft.rpc.wire.http2 import ErrorCode, Http2Error

if TYPE_CHECKING:
    from trioraft.rpc.client.connections.connection import ClientConnection

    from .repeating import RepeatingCall

log = logging.getLogger(__name__)

__all__ = ["Attempt", "AttemptObserver", "Fate"]

Headers = tuple[tuple[bytes, bytes], ...]

_PREVIOUS = b"grpc-previous-rpc-attempts"
_PUSHBACK = b"grpc-retry-pushback-ms"


class AttemptObserver(Protocol):
    """Hears of the attempts of a retried or hedged call, from 1 on. Must not raise."""

    def started(self, number: int, transparent: bool) -> None:
        """A stream was opened; `transparent`: in place of one that no server has looked at."""

    def ended(self, number: int, status: Status) -> None:
        """It has ended so; CANCELLED also for those that another attempt has made superfluous."""


class Fate(Enum):
    """What is known of a stream that has failed."""

    SEEN = auto()  # the server may have begun on it, or has
    REFUSED = auto()  # the server has said that it did not look at it
    UNSENT = auto()  # it never left us


class Attempt(OpeningCall[Any, Any]):
    """A stream whose answer is not here yet. Once it is, the call itself takes the stream over.

    Until then the attempt is what its connection talks to.
    """

    #: Whether nothing that happens to the stream matters any more.
    over: bool = False
    #: What is known of it once it has failed.
    fate: Fate = Fate.SEEN

    def __init__(self, call: RepeatingCall[Any, Any], number: int, transparent: bool) -> None:
        super().__init__(
            call._channel,
            call._path,
            call._cardinality,
            call._send_type,
            call._receive_type,
            None,
            call.deadline,
        )
        self._call = call
        self._limits = call._limits
        self._encoder = call._encoder
        #: From 1 on; a transparent retry has the number of the one that it replaces.
        self.number = number
        self.transparent = transparent

    # ---- for the call ------------------------------------------------------------------------

    def begin(
        self,
        connection: ClientConnection,
        metadata: Sequence[tuple[bytes, bytes]],
        deadline: float,
        messages: list[bytes],
        ended: bool,
    ) -> None:
        """Open the stream and send what the call has sent so far.

        Raises:
            GRPCError: The connection takes no more streams.
        """
        fields = list(metadata)
        if self.number > 1:
            fields.append((_PREVIOUS, b"%d" % (self.number - 1)))
        self._sent_message = bool(messages)
        self._open(connection, fields, deadline, ended and not messages)
        for index, data in enumerate(messages, 1):
            self.pass_on(data, ended and index == len(messages))

    def pass_on(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        """One more message of the call. If the stream is lost, news of it is on its way."""
        try:
            self._put(data, end, wake=wake)
        except GRPCError as error:
            log.debug("attempt %d: %s", self.number, error.message)

    def end_sending(self) -> None:
        """Nothing more comes. As `pass_on`, if the stream is lost."""
        try:
            self._connection.engine.end_stream(self._id)
        except Http2Error as error:
            log.debug("attempt %d: %s", self.number, error)
            return
        self._sent_end = True
        self._connection.mark_dirty()

    def stop(self, code: int = ErrorCode.CANCEL) -> None:
        """Nobody wants its answer."""
        if not self.over:
            self.over = True
            self._failure = self._failure or GRPCError(Status.CANCELLED, "not needed any more")
            self._reset(code)

    # ---- pushed in by the connection ---------------------------------------------------------

    def response_received(self, headers: Headers, end: bool) -> None:
        """An answer: the call's, unless it is a failure after which there is another attempt."""
        if self.over:
            return
        fields = dict(headers)
        if b"grpc-status" in fields:
            outcome = read_status(headers)
        elif not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            outcome = status_from_http(fields.get(b":status", b""))
        else:
            outcome = Status.OK
        pushback = b",".join([value for name, value in headers if name == _PUSHBACK])
        if isinstance(outcome, GRPCError) and self._call.goes_on(self, outcome, pushback or None):
            self.over = self._got_trailers = True
            self._failure = outcome
            if not (end and self._sent_end):
                self._reset(ErrorCode.NO_ERROR if end else ErrorCode.CANCEL)
            return
        self._call.commit(self)
        self._call.response_received(headers, end)

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        """The stream is gone; unless it was over, that is a failure."""
        super().stream_closed(code, cause)
        self._gone()

    def connection_lost(self, error: GRPCError) -> None:
        """The connection is gone; unless the stream was over, that is a failure."""
        super().connection_lost(error)
        self._gone()

    def _gone(self) -> None:
        if not self.over:
            self.over = True
            assert self._failure is not None
            if not self._call.goes_on(self, self._failure, None):
                self._call.give_up(self._failure)

    def _unprocessed(self, code: int, cause: Exception | None) -> bool:
        if code == ErrorCode.REFUSED_STREAM:
            self.fate = Fate.REFUSED if cause is None else Fate.UNSENT
        return False

    def _unsent(self) -> bool:
        if self._connection.unsent(self._id):
            self.fate = Fate.UNSENT
        return False
