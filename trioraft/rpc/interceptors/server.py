"""Server interceptors: what they get to see of a call, and how its handler runs inside of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias, TypeVar

from grpclib.const import Handler

from trioraft.rpc.metadata import Metadata, MetadataLike, decode_metadata, encode_metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.server.stream import ServerStream
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.timeout import Deadline
from trioraft.rpc.wire.call import misuse

from .onion import Hook, InterceptedCall, Layers, Outcome, Traffic, outcome_of, through

__all__ = ["InterceptedStream", "ServerCall", "ServerInterceptor", "intercepted"]

log = logging.getLogger(__name__)

S = TypeVar("S")
R = TypeVar("R")


class ServerCall(InterceptedCall):
    """A call to this server, as its interceptors see it."""

    __slots__ = ("_metadata", "_request", "stream")

    def __init__(self, stream: InterceptedStream[Any, Any]) -> None:
        super().__init__(stream.method_name, stream.method.handler.cardinality, stream.outcome)
        #: The call itself, which the handler gets.
        self.stream = stream
        self._metadata: Metadata | None = None
        self._request: Any = None

    @property
    def registered(self) -> bool:
        """Whether a service has the method. If not, it is a name that the caller has made up, and
        the call goes to the server's handler of unknown methods."""
        return self.stream.method.registered

    @property
    def metadata(self) -> Metadata:
        """The caller's metadata: one multidict for all interceptors. The handler has its own."""
        if self._metadata is None:
            self._metadata = self.stream.metadata
        return self._metadata

    @property
    def peer(self) -> Peer:
        """The caller's address and certificate."""
        return self.stream.peer

    @property
    def deadline(self) -> Deadline | None:
        """When the caller wants an answer, or None."""
        return self.stream.deadline

    # ---- before the handler ------------------------------------------------------------------

    async def request(self) -> Any:
        """The request of a call that has one, without taking it from the handler.

        `on_receive` hooks have not seen it. Cancelling takes nothing.

        Raises:
            ProtocolError: The call streams its requests, or the handler has it already.
            GRPCError: As `ServerStream.recv_message`.
        """
        if self._request is None:
            self._request = await self.stream.peek_message()
        return self._request

    def limit_time(self, seconds: float) -> None:
        """A deadline of the server's own: DEADLINE_EXCEEDED unless the caller's is earlier."""
        error = GRPCError(Status.DEADLINE_EXCEEDED, f"not done within {seconds:g} s")
        self.stream.limit_time(seconds, error)

    # ---- what goes back ----------------------------------------------------------------------

    def add_initial_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the response headers, before that of the handler.

        To no effect once these are sent, which is with the first reply as a rule, and for a call
        that is refused without one: then there are trailers only.

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        self.stream.initial += tuple(encode_metadata(metadata))

    def add_trailing_metadata(self, metadata: MetadataLike) -> None:
        """Have `metadata` go with the status, after that of the handler; also after the `yield`.

        Replaces what was added under the same names before. To no effect if the handler has sent
        the status by itself (`ServerStream.send_trailing_metadata`).

        Raises:
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        self.stream.add_trailing_metadata(metadata)

    @property
    def trailing_metadata(self) -> Metadata:
        """What goes with the status, as far as it is known: a fresh multidict."""
        return self.stream.trailing_metadata

    # ---- messages ----------------------------------------------------------------------------

    def on_receive(self, hook: Hook) -> None:
        """Have `hook` called with each request that is taken from here on, decoded.

        Outer interceptors' hooks come first. GRPCError raised there is raised where the handler
        takes the message.
        """
        self.stream.inward = (*self.stream.inward, hook)

    def on_send(self, hook: Hook) -> None:
        """Have `hook` called with each reply that is sent from here on.

        Inner interceptors' hooks come first. GRPCError raised there is raised where the handler
        sends the message, or becomes the call's status.
        """
        self.stream.outward = (hook, *self.stream.outward)

    def measure(self) -> Traffic:
        """Count messages and bytes of this call from here on; the same counts if asked again."""
        if self.stream.traffic is None:
            self.stream.traffic = Traffic()
        return self.stream.traffic


#: An async context manager around each call: usually an `@asynccontextmanager` function.
ServerInterceptor: TypeAlias = Callable[[ServerCall], AbstractAsyncContextManager[object]]


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
