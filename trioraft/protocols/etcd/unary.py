"""One unary call, from request bytes to response bytes: what all services here share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf.message import DecodeError

from trioraft.machines.kv import Tag, decode_reply
from trioraft.raft.errors import NotLeaderError, TrioraftError
from trioraft.rpc import (
    Cardinality,
    Encoded,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    ServerStream,
    Status,
)

from .backend import Answer, Backend
from .errors import NO_LEADER, NOT_FOR_LEARNER, REQUEST_TOO_LARGE, TIMED_OUT, to_grpc_error
from .header import Header

__all__ = ["DEFAULT_REQUEST_TIMEOUT", "MAX_REQUEST_BYTES", "Caller"]

DEFAULT_REQUEST_TIMEOUT = 7.0
"""Seconds: 5, and two election timeouts of etcd's default of 1."""

MAX_REQUEST_BYTES = 1536 * 1024
"""Bound on a request that is to enter the log; etcd's default."""

_Method = Callable[[bytes], Awaitable[bytes]]
_Quick = Callable[[Answer, bytes], bool]


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

    def handler(self, method: _Method, quick: _Quick | None = None) -> Handler:
        """A handler that answers with `method`'s bytes, or with the status for its error.

        quick: begins a call without a task and returns True, or does nothing. What it would have
            to refuse is left to `method` as well, which says why.
        """

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

        if quick is None:
            return Handler(handle, Cardinality.UNARY_UNARY, Encoded, Encoded)
        begin = quick

        def in_place(call: InPlaceCall[Encoded, bytes], request: bytes) -> bool:
            if self.backend.is_learner:
                return False
            call.limit_time(self._timeout, self._overdue)
            try:
                return begin(_Answer(self, call), request)
            except (TrioraftError, DecodeError):
                return False

        return InPlaceHandler(handle, Encoded, Encoded, in_place)

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
        return self.response(await self.backend.propose(tag.encode(request)))

    def propose_for(self, answer: Answer, tag: Tag, request: bytes) -> bool:
        """`propose` without a task, or False: see `Backend.propose_for`."""
        if len(request) > MAX_REQUEST_BYTES:
            return False
        return self.backend.propose_for(answer, tag.encode(request))

    async def query(self, tag: Tag, request: bytes, *, linearizable: bool) -> bytes:
        """Have a checked read answered; returns the whole response. Raises as `propose`."""
        if linearizable:
            self.require_vote()
        reply = await self.backend.query(tag.encode(request), linearizable=linearizable)
        return self.response(reply)

    def response(self, reply: bytes) -> bytes:
        """The whole response for a reply of the machine. Raises the KvError that it may be."""
        revision, body = decode_reply(reply)
        return self.header.encode(revision) + body


class _Answer:
    """Answers a call without a task. Implements `backend.Answer`."""

    __slots__ = ("_call", "_caller")

    def __init__(self, caller: Caller, call: InPlaceCall[Encoded, bytes]) -> None:
        self._caller = caller
        self._call = call

    def resolve(self, reply: bytes) -> None:
        try:
            self._call.respond(Encoded(self._caller.response(reply)))
        except Exception as error:  # it is the call's, and must not reach the group's turn
            self.fail(error)
        self._caller.backend.flush_later(self._call.flush)

    def fail(self, error: BaseException) -> None:
        if isinstance(error, NotLeaderError):
            self._call.run_handler()  # leadership moved before it began: ask who leads now
        elif isinstance(error, TrioraftError | DecodeError):
            self._call.fail(to_grpc_error(error))
        else:
            self._call.crashed(error)


def _check_leader_required(stream: ServerStream[Encoded, bytes]) -> None:
    """Clients that ask for it (`hasleader: true`) are told at once that there is no leader."""
    if stream.metadata.get("hasleader") == "true":
        raise GRPCError(*NO_LEADER)
