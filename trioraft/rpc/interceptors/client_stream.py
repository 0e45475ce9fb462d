"""A client's call that has interceptors: they are entered and left with its block."""

from __future__ import annotations

import math
from types import TracebackType, new_class
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from multidict import MultiDict

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.client.calls.timing import DEADLINE_EXCEEDED
from trioraft.rpc.metadata import Metadata
from trioraft.rpc.status import GRPCError, Status, read_status

from .client import ClientCall, ClientInterceptor
from .client_messages import WatchedClientStream
from .onion import Layers, Outcome

if TYPE_CHECKING:
    from grpclib.const import Cardinality

__all__ = ["InterceptedClientStream", "intercepted"]

S = TypeVar("S")
R = TypeVar("R")


class InterceptedClientStream(WatchedClientStream[S, R]):
    """A call that has interceptors. They are entered and left with its block."""

    #: Interceptors of this call alone, inside of those of the channel.
    innermost: tuple[ClientInterceptor, ...] = ()
    _entering: trio.CancelScope | None = None  # bounds the way in by the call's deadline
    _layers: Layers | None = None  # in the block alone: it refers to us

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cardinality: Cardinality = arguments[2]

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
        if known is None and self._entering is not None and self._entering.cancel_called:
            return _OVERDUE
        return _CANCELLED if known is None else _OK

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
            raise GRPCError(Status.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED) from None
        return result


_OK = Outcome(Status.OK)
_OVERDUE = Outcome(Status.DEADLINE_EXCEEDED, DEADLINE_EXCEEDED)
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
