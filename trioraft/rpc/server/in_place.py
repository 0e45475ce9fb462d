"""Unary calls that are answered without a task: see `service.InPlaceHandler`."""

from __future__ import annotations

import logging
import math
from typing import Any, TypeVar

import trio

from trioraft.rpc.compression.bounded import Compressed
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.framing import PREFIX_SIZE, pack_prefix
from trioraft.rpc.wire.http2 import Http2Error

from .answering import OK, RESPONSE
from .stream import ServerStream

__all__ = ["InPlaceCall"]

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")


class InPlaceCall(ServerStream[S, R]):
    """A unary call that is tried in place first, and is an ordinary call for its handler if not.

    Whoever takes it over holds on to it until it calls `respond` or `fail`, or `run_handler`, once.
    All three are plain calls from the event loop, and do nothing for a call that is over.
    """

    _holding = False  # taken over, and without an answer
    _time_limit = math.inf

    def take(self) -> bool:
        """Try it; False if its handler must run."""
        if not self._inbox or self._inflating:
            return False  # no request, or one that is refused: the handler finds out which
        in_place = self.method.in_place
        assert in_place is not None
        try:
            # The request is left where it is for a handler that runs after all.
            request: Any = self._inbox[0]
            if not in_place(self, self._decode(request)):
                return False
            self._connection.messages_received += 1
        except Exception as error:  # what a handler raises ends its call and nothing else
            self.crashed(error)
            return True
        if not self._sent_trailers and not self._closed:
            self._hold()
        return True

    def _hold(self) -> None:
        self._holding = True
        at = self._time_limit
        if self.deadline is not None and self.deadline.at < at:
            at, self._overdue = self.deadline.at, None
        if at != math.inf:
            self._connection.overdue.watch(self, at)

    def _let_go(self) -> None:
        if self._holding:
            self._holding = False
            self._connection.overdue.forget(self)

    def limit_time(self, seconds: float, overdue: GRPCError) -> None:
        """As `ServerStream.limit_time`; also before a call is taken over, for as long as it is."""
        if self._scope is not None:
            super().limit_time(seconds, overdue)
        else:
            self._time_limit = trio.current_time() + seconds
            self._overdue = overdue

    def respond(self, message: S) -> None:
        """Answer: headers, message and OK.

        While it is being taken over, that is all. Later, the caller is to `flush` before
        anything else runs, once for all calls of a connection that it answers.

        Raises:
            TypeError: Not a message of the method's reply type.
        """
        if self._closed or self._sent_trailers:
            return
        try:
            data = self._encode(message)
        except GRPCError as error:
            self.fail(error)
            return
        if self._encoder is not None:
            data = self._compress_now(data)
        self._let_go()
        engine = self._connection.engine
        self._sent_headers = self._sent_message = self._sent_trailers = True
        try:
            engine.send_response(self._id, self._response([]) if self._agreed else RESPONSE)
            engine.send_data(self._id, pack_prefix(type(data) is Compressed, len(data)) + data)
            extra = self._extra_trailers
            engine.send_trailers(self._id, OK + extra if extra else OK)
        except Http2Error as error:
            log.info("%s: no way to answer %s: %s", self.method_name, self.peer, error)
            return
        self._connection.messages_sent += 1
        self._queued += len(data) + PREFIX_SIZE
        if not self._ended:
            self._stop_caller()

    def fail(self, error: GRPCError) -> None:
        """Answer with the error's status."""
        self._let_go()
        super().fail(error)

    def run_handler(self) -> None:
        """Give the call to its handler after all, in a task."""
        self._let_go()
        if not self._closed and not self._sent_trailers:
            self._connection.run_handler(self)

    def overdue(self) -> None:
        """The time for it is up."""
        self.fail(self._overdue or GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded"))

    def stream_closed(self, code: int, cause: Exception | None) -> None:
        self._let_go()
        super().stream_closed(code, cause)

    def connection_lost(self, error: GRPCError) -> None:
        self._let_go()
        super().connection_lost(error)
