"""A call to a server that has interceptors, and how its handler runs inside of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from grpclib.const import Handler

from trioraft.rpc.metadata import Metadata, MetadataLike, decode_metadata
from trioraft.rpc.server.stream import ServerStream
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.call import misuse

from .onion import Hook, Layers, Outcome, Traffic, outcome_of, through
from .server import ServerCall, ServerInterceptor

__all__ = ["InterceptedStream", "intercepted"]

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")


class InterceptedStream(ServerStream[S, R]):
    """The stream of a call that has interceptors."""

    traffic: Traffic | None = None
    #: Hooks in the order in which they see a message.
    inward: tuple[Hook, ...] = ()
    outward: tuple[Hook, ...] = ()
    #: Encoded metadata of interceptors, for the response headers.
    initial: tuple[tuple[bytes, bytes], ...] = ()
    _sent_outcome: Outcome | None = None
    _peeked: Any = None

    # ---- messages ----------------------------------------------------------------------------

    async def peek_message(self) -> Any:
        """See `ServerCall.request`."""
        if self._handler.cardinality.client_streaming:
            raise misuse("the call streams its requests: use on_receive")
        if self._taken:
            raise misuse("the handler has taken the request already")
        while not self.ready:
            await self._wait_readable()
        if not self._inbox:
            self._raise_failure()
            raise GRPCError(Status.INTERNAL, "the caller ended a unary call without a request")
        body = await self._peek()
        try:
            self._peeked = self._decode(body)
        except Exception as error:
            raise self._undecodable(error) from error
        self._decode = _as_it_is
        return self._peeked

    def _take(self) -> R:
        size = len(self._inbox[0])
        message = super()._take()
        if self._peeked is not None:
            # What was decoded already, with the changes that were made to it.
            message, self._peeked = self._peeked, None
            self._decode = self._receive_type.FromString
        if self.traffic is not None:
            self.traffic.received += 1
            self.traffic.received_bytes += size
        return self._through(self.inward, message) if self.inward else message

    def _encode(self, message: Any) -> bytes:
        return super()._encode(self._through(self.outward, message) if self.outward else message)

    def _put(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        super()._put(data, end, wake=wake)
        if self.traffic is not None:
            self.traffic.sent += 1
            self.traffic.sent_bytes += len(data)

    def _through(self, hooks: tuple[Hook, ...], message: Any) -> Any:
        try:
            return through(hooks, message)
        except GRPCError:
            raise
        except Exception as error:
            log.error("%s: an interceptor's hook failed", self.method_name, exc_info=error)
            raise GRPCError(Status.UNKNOWN, "Internal Server Error") from error

    # ---- metadata and status -----------------------------------------------------------------

    def _send_headers(self, extra: list[tuple[bytes, bytes]]) -> None:
        super()._send_headers([*self.initial, *extra] if self.initial else extra)

    async def send_trailing_metadata(
        self,
        *,
        status: Status = Status.OK,
        status_message: str | None = None,
        status_details: object = None,
        metadata: MetadataLike | None = None,
    ) -> None:
        await super().send_trailing_metadata(
            status=status,
            status_message=status_message,
            status_details=status_details,
            metadata=metadata,
        )
        self._sent_outcome = Outcome(status, status_message, status_details)

    @property
    def trailing_metadata(self) -> Metadata:
        """See `ServerCall.trailing_metadata`."""
        return decode_metadata(self._extra_trailers or ())

    def outcome(self, error: BaseException | None) -> Outcome:
        """How the call ends if `error` is what rises out of it."""
        if self._sent_outcome is not None:
            return self._sent_outcome
        if self._abandoned or self._reset_sent:
            return Outcome(Status.CANCELLED, "the caller went away")
        if error is None:
            if self._sent_message or self._handler.cardinality.server_streaming:
                return _OK
            return Outcome(Status.UNKNOWN, "Internal Server Error")  # no reply
        known = outcome_of(error)
        if known is not None:
            return known
        if self._scope is not None and self._scope.cancel_called:
            late = self._overdue or GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded")
            return Outcome(late.status, late.message, late.details)
        return Outcome(Status.CANCELLED, "the connection has ended")


def _as_it_is(data: bytes) -> bytes:
    return data


_OK = Outcome(Status.OK)


def intercepted(handler: Handler, interceptors: Sequence[ServerInterceptor]) -> Handler:
    """The handler inside of its interceptors. Its calls need to be of `InterceptedStream`."""
    handle = handler.func

    async def run(stream: InterceptedStream[Any, Any]) -> None:
        call = ServerCall(stream)
        layers = Layers(call)
        error: BaseException | None = None
        try:
            await layers.enter(interceptors, call)
            if call.answered:
                await stream.send_message(call.reply)
            else:
                await handle(stream)
        except BaseException as raised:  # whatever it is, the layers are left with it
            error = raised
        error = await layers.leave(error)
        if error is not None:
            try:
                raise error
            finally:
                del error  # it holds this frame

    return Handler(run, handler.cardinality, handler.request_type, handler.reply_type)
