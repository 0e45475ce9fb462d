"""Client interceptors: what they get to see of a call, and do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from trioraft.rpc.client.retrying.attempt import AttemptObserver
from trioraft.rpc.client.retrying.repeating import RepeatingCall
from trioraft.rpc.metadata import Metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import ProtocolError, Status
from trioraft.rpc.timeout import Deadline

from .onion import Hook, InterceptedCall, Traffic

if TYPE_CHECKING:
    from .client_stream import InterceptedClientStream

__all__ = ["ClientCall", "ClientInterceptor"]


class ClientCall(InterceptedCall):
    """A call of this channel, as its interceptors see it. Retries happen inside of them."""

    __slots__ = ("stream",)

    def __init__(self, stream: InterceptedClientStream[Any, Any]) -> None:
        super().__init__(stream.path, stream.cardinality, stream.outcome)
        #: The call itself, which the application has.
        self.stream: InterceptedClientStream[Any, Any] = stream

    @property
    def target(self) -> str:
        """What the channel was opened with."""
        return self.stream.target

    @property
    def peer(self) -> Peer | None:
        """The server's address; None until the request is sent."""
        return self.stream.peer

    # ---- before the call ---------------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """What goes with the request; may be changed until the `yield`."""
        return self.stream.request_metadata

    @property
    def deadline(self) -> Deadline | None:
        """The call's own deadline; may be set until the `yield`, to an earlier or a later one.

        Those of Trio scopes around the call hold besides.
        """
        return self.stream.deadline

    @deadline.setter
    def deadline(self, deadline: Deadline | None) -> None:
        self.stream.deadline = deadline

    def respond(self, reply: Any) -> None:
        """Answer a call that has one reply without making it.

        Before the `yield`, no further interceptor is entered, and what the application sends goes
        nowhere. An `on_send` hook may still do it when it sees the request of a unary call.

        Raises:
            ProtocolError: The call streams its replies, is answered already, or was sent.
        """
        if self.stream.sent:
            raise ProtocolError("the call was sent already")
        super().respond(reply)
        self.stream.answer_with(reply)

    # ---- messages ----------------------------------------------------------------------------

    def on_send(self, hook: Hook) -> None:
        """Have `hook` called with each request that is sent from here on.

        Outer interceptors' hooks come first. What it raises is raised where the application sends.
        """
        self.stream.outward = (*self.stream.outward, hook)

    def on_receive(self, hook: Hook) -> None:
        """Have `hook` called with each reply that is taken from here on, decoded.

        Inner interceptors' hooks come first. GRPCError raised there is raised where the
        application takes the reply.
        """
        self.stream.inward = (hook, *self.stream.inward)

    def measure(self) -> Traffic:
        """Count messages and bytes of this call from here on; the same counts if asked again."""
        if self.stream.traffic is None:
            self.stream.traffic = Traffic()
        return self.stream.traffic

    def observe_attempts(self, observer: AttemptObserver) -> bool:
        """Have `observer` hear of each attempt at a call that has a retry or hedging policy.

        Returns whether the call has one; if not, it is its only attempt, and nothing is told.
        """
        if not isinstance(self.stream, RepeatingCall):
            return False
        before = self.stream.attempts
        self.stream.attempts = observer if before is None else _Observers((before, observer))
        return True

    # ---- after the call ----------------------------------------------------------------------

    @property
    def initial_metadata(self) -> Metadata | None:
        """The server's initial metadata; None if it has not come."""
        return self.stream.initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:
        """The server's trailing metadata; None if it has not come."""
        return self.stream.trailing_metadata


class _Observers:
    """Tells several."""

    def __init__(self, all_of_them: Sequence[AttemptObserver]) -> None:
        self._all = all_of_them

    def started(self, number: int, transparent: bool) -> None:
        for one in self._all:
            one.started(number, transparent)

    def ended(self, number: int, status: Status) -> None:
        for one in self._all:
            one.ended(number, status)


#: An async context manager around each call: usually an `@asynccontextmanager` function.
ClientInterceptor: TypeAlias = Callable[[ClientCall], AbstractAsyncContextManager[object]]
