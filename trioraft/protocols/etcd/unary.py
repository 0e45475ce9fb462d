"""One unary call, from request bytes to response bytes: what all services here share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf.message import DecodeError

from trioraft.machines.kv import Tag, decode_reply
from trioraft.raft.errors import TrioraftError
from trioraft.rpc import Cardinality, Encoded, GRPCError, Handler, ServerStream, Status

from .backend import Backend
from .errors import NO_LEADER, NOT_FOR_LEARNER, REQUEST_TOO_LARGE, TIMED_OUT, to_grpc_error
from .header import Header

__all__ = ["DEFAULT_REQUEST_TIMEOUT", "MAX_REQUEST_BYTES", "Caller"]

DEFAULT_REQUEST_TIMEOUT = 7.0
"""Seconds: 5, and two election timeouts of etcd's default of 1."""

MAX_REQUEST_BYTES = 1536 * 1024
"""Bound on a request that is to enter the log; etcd's default."""

_Method = Callable[[bytes], Awaitable[bytes]]


class Caller:
    """Asks the node on behalf of clients, and knows what etcd answers when it fails.

    `request_timeout` (seconds) bounds each call: it then gets UNAVAILABLE, which clients retry
    elsewhere if they may, unless the client's own deadline was earlier.
    """

    def __init__(self, backend: Backend, request_timeout: float) -> None:
        self.backend = backend
        self.header = Header(backend)
        self._timeout = request_timeout
        self._overdue = GRPCError(*TIMED_OUT)

    def handler(self, method: _Method) -> Handler:
        """A handler that answers with `method`'s bytes, or with the status for its error."""

        async def handle(stream: ServerStream[Encoded, bytes]) -> None:
            request = await stream.recv_message()
            if request is None:
                raise GRPCError(Status.INTERNAL, "the call ended without a request")
            stream.limit_time(self._timeout, self._overdue)
            if not self.backend.leader_member_id:
                _check_leader_required(stream)
            try:
                response = await method(request)
            except (TrioraftError, DecodeError) as error:
                raise to_grpc_error(error) from error
            await stream.send_message(Encoded(response))

        return Handler(handle, Cardinality.UNARY_UNARY, Encoded, Encoded)

    def require_vote(self) -> None:
        """Refuse what a learner must not serve."""
        if self.backend.is_learner:
            raise GRPCError(*NOT_FOR_LEARNER)

    async def propose(self, tag: Tag, request: bytes) -> bytes:
        """Have a checked request applied; returns the whole response.

        Raises KvError or one of the backend's errors. After a cancellation (a deadline, a client
        that goes away) it may still be applied.
        """
        self.require_vote()
        if len(request) > MAX_REQUEST_BYTES:
            raise GRPCError(*REQUEST_TOO_LARGE)
        return self._response(await self.backend.propose(tag.encode(request)))

    async def query(self, tag: Tag, request: bytes, *, linearizable: bool) -> bytes:
        """Have a checked read answered; returns the whole response. Raises as `propose`."""
        if linearizable:
            self.require_vote()
        reply = await self.backend.query(tag.encode(request), linearizable=linearizable)
        return self._response(reply)

    def _response(self, reply: bytes) -> bytes:
        revision, body = decode_reply(reply)
        return self.header.encode(revision) + body


def _check_leader_required(stream: ServerStream[Encoded, bytes]) -> None:
    """Clients that ask for it (`hasleader: true`) are told at once that there is no leader."""
    if stream.metadata.get("hasleader") == "true":
        raise GRPCError(*NO_LEADER)
