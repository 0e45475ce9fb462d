"""Server interceptors: what they get to see of a call, and do with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

from trioraft.rpc.metadata import Metadata, MetadataLike, encode_metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.timeout import Deadline

from .onion import Hook, InterceptedCall, Traffic

if TYPE_CHECKING:
    from .server_stream import InterceptedStream

__all__ = ["ServerCall", "ServerInterceptor"]


class ServerCall(InterceptedCall):
    """A call to this server, as its interceptors see it."""

    __slots__ = ("_metadata", "_request", "stream")

    def __init__(self, stream: InterceptedStream[Any, Any]) -> None:
        super().__init__(stream.method_name, stream.method.handler.cardinality, stream.outcome)
        #: The call itself, which the handler gets.
        self.stream: InterceptedStream[Any, Any] = stream
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
