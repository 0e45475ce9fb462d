"""A client's call that has interceptors: they are entered and left with its block."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from types import TracebackType, new_class
from typing import Any, TypeVar

import trio
from multidict import MultiDict

from trioraft.rpc.client.stream import ClientStream
from trioraft.rpc.metadata import Metadata
from trioraft.rpc.status import GRPCError, Status, read_status

from .client import ClientCall, ClientInterceptor
from .onion import Hook, Layers, Outcome, Traffic, through

__all__ = ["InterceptedClientStream", "intercepted"]

S = TypeVar("S")
R = TypeVar("R")


class InterceptedClientStream(ClientStream[S, R]):
    """A call that has interceptors. They are entered and left with its block."""

    traffic: Traffic | None = None
    #: Interceptors of this call alone, inside of those of the channel.
    innermost: tuple[ClientInterceptor, ...] = ()
    #: Hooks in the order in which they see a message.
    inward: tuple[Hook, ...] = ()
    outward: tuple[Hook, ...] = ()
    _answered = False  # by an interceptor, with `_answer`
    _answer: Any = None
    _entering: trio.CancelScope | None = None  # bounds the way in by the call's deadline
    _layers: Layers | None = None  # in the block alone: it refers to us

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cardinality = arguments[2]

    # ---- for `ClientCall` --------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path of the method."""
        return self._path

    @property
    def target(self) -> str:
        """What the channel was opened with."""
        return self._channel.target

    @property
    def sent(self) -> bool:
        """Whether the request headers were sent."""
        return self._sent_request

    @property
    def request_metadata(self) -> Metadata:
        """What goes with the request, made if there is none yet."""
        if self._metadata is None:
            self._metadata = MultiDict()
        return self._metadata

    def answer_with(self, reply: Any) -> None:
        """See `ClientCall.respond`."""
        self._answered, self._answer = True, reply

    def outcome(self, error: BaseException | None) -> Outcome:
        """How the call ends if `error` is what rises out of its block."""
        if self._answered and error is None:
            return _OK
        known: GRPCError | Status | None = _status(error)
        if known is None and self._got_trailers:
            known = read_status(self._trailers)
        known = known or self._failure
        if isinstance(known, GRPCError):
            return Outcome(known.status, known.message, known.details)
        return _CANCELLED if known is None else _OK

    # ---- messages ----------------------------------------------------------------------------

    # Plain functions that hand on a coroutine: none of ours is in the way of each message.

    def send_request(self, *, end: bool = False) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().send_request(end=end)

    def send_message(
        self, message: S, *, end: bool = False, compress: bool = True
    ) -> Coroutine[Any, Any, None]:
        if self.outward:
            message = self._outgoing(message)
        if self._answered:
            return _nothing()
        return super().send_message(message, end=end, compress=compress)

    def send_message_nowait(self, message: S, *, end: bool = False, compress: bool = True) -> None:
        changed = self._outgoing(message)
        if not self._answered:
            super().send_message_nowait(changed, end=end, compress=compress)

    def queue_message(self, message: S) -> None:
        super().queue_message(self._outgoing(message))

    def end(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().end()

    async def cancel(self) -> None:
        if self._answered:
            self._cancelled = True
        else:
            await super().cancel()

    def _outgoing(self, message: Any) -> Any:
        if self._answered or not self.outward:
            return message
        return through(self.outward, message)

    def _send(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        super()._send(data, end, wake=wake)
        if self.traffic is not None:
            self.traffic.sent += 1
            self.traffic.sent_bytes += len(data)

    def _take(self) -> R:
        size = len(self._inbox[0])
        message = super()._take()
        if self.traffic is not None:
            self.traffic.received += 1
            self.traffic.received_bytes += size
        return self._incoming(message) if self.inward else message

    def _incoming(self, message: Any) -> Any:
        try:
            return through(self.inward, message)
        except GRPCError:
            raise
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"an interceptor's hook failed: {error!r}") from error

    def recv_message(self) -> Coroutine[Any, Any, R | None]:
        return self._recv_answer() if self._answered else super().recv_message()

    async def _recv_answer(self) -> R | None:
        return self.recv_message_nowait()

    def recv_message_nowait(self) -> R | None:
        if not self._answered:
            return super().recv_message_nowait()
        if self._taken:
            return None
        self._taken = True
        reply: R = self._incoming(self._answer)
        return reply

    async def deliver(self, sink: Callable[[list[R]], bool]) -> bool:
        if not self._answered:
            return await super().deliver(sink)
        await trio.lowlevel.checkpoint()
        reply = self.recv_message_nowait()
        return reply is not None and sink([reply])

    def recv_initial_metadata(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().recv_initial_metadata()

    def recv_trailing_metadata(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().recv_trailing_metadata()

    @property
    def initial_metadata(self) -> Metadata | None:
        return MultiDict() if self._answered else super().initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:
        return MultiDict() if self._answered else super().trailing_metadata

    # ---- the block ---------------------------------------------------------------------------

    async def __aenter__(self) -> InterceptedClientStream[S, R]:
        # The call's deadline bounds what interceptors wait for on the way in; from there on the
        # call does it, inside of them, so that they see GRPCError(DEADLINE_EXCEEDED) rise.
        call = ClientCall(self)
        self._layers = layers = Layers(call)
        if self.deadline is not None:
            self._entering = trio.CancelScope(deadline=self.deadline.at)
            self._entering.__enter__()
        try:
            await layers.enter((*self._channel.interceptors, *self.innermost), call)
            if self._entering is not None:
                self._entering.deadline = math.inf
            await super().__aenter__()
        except BaseException as error:
            failure = error
        else:
            return self
        result = await self._leave_layers(failure)
        assert result is not None
        try:
            raise result
        finally:
            del result, failure  # they hold this frame

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = error
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseException as raised:
            outcome = raised
        result = await self._leave_layers(outcome)
        if result is not error and result is not None:
            try:
                raise result
            finally:
                del result, outcome  # they hold this frame

    async def _leave_layers(self, error: BaseException | None) -> BaseException | None:
        """Leave the interceptors, and the scope around them, with `error`; returns what is to rise.

        Raises:
            GRPCError: DEADLINE_EXCEEDED on the way in.
            BaseException: What an interceptor has made of `error`.
        """
        layers, self._layers = self._layers, None
        assert layers is not None
        result = await layers.leave(error, keep=True)
        if self._entering is None:
            return result
        kind = None if result is None else type(result)
        self._entering.__exit__(kind, result, None if result is None else result.__traceback__)
        if self._entering.cancelled_caught:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "deadline exceeded") from None
        return result


async def _nothing() -> None:
    pass


_OK = Outcome(Status.OK)
_CANCELLED = Outcome(Status.CANCELLED, "the call's block has ended")


def _status(error: BaseException | None) -> GRPCError | None:
    """The status that rises, alone in groups of interceptors' nurseries as it may be."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, GRPCError) else None


_KINDS: dict[type, type[ClientStream[Any, Any]]] = {ClientStream: InterceptedClientStream}


def intercepted(kind: type[ClientStream[Any, Any]]) -> type[ClientStream[Any, Any]]:
    """Calls of `kind`, with the interceptors of their channel."""
    found = _KINDS.get(kind)
    if found is None:
        found = new_class(f"Intercepted{kind.__name__}", (InterceptedClientStream, kind))
        _KINDS[kind] = found
    return found
