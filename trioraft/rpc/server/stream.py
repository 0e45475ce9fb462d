"""The server's end of a call: what a handler gets, in the shape of `grpclib.server.Stream`."""

from __future__ import annotations

import logging
from typing import TypeVar

import trio

from trioraft.rpc.status import GRPCError, Status, status_headers

from .answering import OK, AnsweringCall

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")


class ServerStream(AnsweringCall[S, R]):
    """One call, as its handler sees it: `ServerStream[what it sends, what it receives]`.

    Runs in its own cancel scope, whose deadline is the caller's. The scope is cancelled when the
    caller resets the stream or its connection ends: the handler sees `trio.Cancelled`.

    Beyond grpclib's interface: `send_message_nowait`, `queue_message`, `flush`, `wait_writable`,
    `crowded`, `recv_message_nowait`, `receive_available`, `deliver`, `limit_time`,
    `set_trailing_metadata`, `add_trailing_metadata`, `set_compression`, `push_back`,
    `previous_attempts`.
    """

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

    def broken(self, error: RuntimeError) -> None:
        """Trio has found the handler's scopes out of order: the call ends unless it has ended."""
        if self._scope is not None:
            self.crashed(error)
            self.finished(cancelled=False)

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

    def end_early(self, error: GRPCError) -> None:
        """End the call with the error's status, and cancel its handler. Never waits."""
        self.fail(error)
        self._overdue = self._cut_off = error
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._abandoned = True  # it has not begun

    def limit_time(self, seconds: float, overdue: GRPCError) -> None:
        """The server's own bound on this call: past it the handler is cancelled and the caller
        gets `overdue`. Does nothing if the caller's deadline is earlier. Costs no cancel scope of
        its own: the call has one already. Never waits.
        """
        at = trio.current_time() + seconds
        if self._scope is not None and at < self._scope.deadline:
            self._scope.deadline = at
            self._overdue = overdue
