"""What a call to a server has of its caller: headers and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from trioraft.rpc.metadata import Metadata, decode_metadata
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.timeout import Deadline
from trioraft.rpc.wire.call import Call

if TYPE_CHECKING:
    from .connection import ServerConnection
    from .service import Method


S = TypeVar("S")
R = TypeVar("R")


class RequestedCall(Call[S, R]):
    """The part of a `ServerStream` that the caller has made. Internal."""

    _connection: ServerConnection
    _sent_headers = False
    _sent_message = False
    _sent_trailers = False
    _not_ok = False  # ended with anything but OK
    _agreed = False  # the response headers are to say something about compression
    _overdue: GRPCError | None = None
    _cut_off: GRPCError | None = None  # what the server has ended the call with, not its handler
    _scope: trio.CancelScope | None = None  # while the handler runs
    _abandoned = False
    #: When the caller wants an answer, or None.
    deadline: Deadline | None = None
    started = False

    def __init__(
        self,
        connection: ServerConnection,
        stream_id: int,
        method: Method,
        headers: tuple[tuple[bytes, bytes], ...],
        deadline: Deadline | None,
    ) -> None:
        handler = method.handler
        super().__init__(
            connection.limits, handler.reply_type, handler.request_type, method.max_receive_message
        )
        self._connection = connection
        self._id = stream_id
        #: The path of the method: `/package.Service/Method`.
        self.method_name: str = method.path
        self.method = method
        self._handler = handler
        self._headers = headers
        if deadline is not None:
            self.deadline = deadline

    # ---- what the caller sent ----------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """The caller's metadata: a fresh multidict."""
        return decode_metadata(self._headers)

    @property
    def peer(self) -> Peer:
        """The caller's address and certificate."""
        return self._connection.peer

    @property
    def user_agent(self) -> str | None:
        """The caller's user agent."""
        return self._header(b"user-agent")

    @property
    def authority(self) -> str | None:
        """What the caller calls this server: host and port as a rule (`:authority`)."""
        return self._header(b":authority")

    @property
    def content_type(self) -> str | None:
        """The request's content type."""
        return self._header(b"content-type")

    @property
    def previous_attempts(self) -> int:
        """How often the caller has tried before, as far as it says; 0 for a first attempt."""
        said = self._header(b"grpc-previous-rpc-attempts") or ""
        return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0

    def _header(self, wanted: bytes) -> str | None:
        for name, value in self._headers:
            if name == wanted:
                return value.decode("latin-1")
        return None

    async def recv_message(self) -> R | None:
        """Wait for the next message; None when the caller has ended its stream.

        A checkpoint only if it has to wait, or after 64 messages without waiting. Cancelling takes
        nothing.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message over the limit, INTERNAL for one that
                cannot be inflated or decoded, CANCELLED if the caller went away. Left to rise,
                it becomes the call's status.
        """
        message = await self._receive()
        if message is None and not self._taken and not self._handler.cardinality.client_streaming:
            raise GRPCError(Status.INTERNAL, "the caller ended a unary call without a request")
        return message

    def _undecodable(self, error: Exception) -> GRPCError:
        self._connection.warn("%s: %s", self.method_name, error)
        return super()._undecodable(error)
