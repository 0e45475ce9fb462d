"""The accepting end of a connection: from request headers to running handlers."""

from __future__ import annotations

import logging
from itertools import chain
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.compression.settings import ENCODING, Agreed, negotiate
from trioraft.rpc.registry.timed import Timed
from trioraft.rpc.status import GRPCError, Status, status_headers
from trioraft.rpc.timeout import Deadline, decode_timeout
from trioraft.rpc.wire.http2 import (
    DataReceived,
    ErrorCode,
    Http2Error,
    ProtocolViolation,
    RequestReceived,
    TrailersReceived,
)

from .answering import RESPONSE
from .in_place import InPlaceCall
from .life.managed import ManagedConnection
from .service import Method
from .shared import Shared
from .stream import ServerStream
from .workers import Workers

if TYPE_CHECKING:
    from trioraft.rpc.compression import Compression

    from .overdue import Overdue

log = logging.getLogger(__name__)

_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
_TEXT = b"This is a gRPC port: it speaks HTTP/2 only, with prior knowledge or ALPN h2.\n"
_HTTP1_ANSWER = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_TEXT), _TEXT)
)
# Accounting of RFC 9113 §6.5.2.
_FIELD_OVERHEAD = 32


class ServerConnection(ManagedConnection):
    """Hands each call to a worker task of its own, in the connection's nursery."""

    def __init__(self, stream: trio.abc.Stream, shared: Shared) -> None:
        super().__init__(stream, shared)
        self._methods = shared.methods
        self.overdue: Overdue = shared.overdue
        self.compression: Compression = shared.compression
        self._encoder = self.compression.choose(self.compression.send)
        # A caller's headers are mostly the same each time: the last ones that passed the checks.
        self._usual: tuple[tuple[tuple[bytes, bytes], ...], Method, Agreed | None] | None = None
        self._handlers[RequestReceived] = self._on_request
        self._handlers[TrailersReceived] = self._on_trailers

    def _started(self, nursery: trio.Nursery) -> None:
        self._workers = Workers(nursery)
        super()._started(nursery)

    # ---- events ------------------------------------------------------------------------------

    def _on_request(self, event: RequestReceived) -> None:
        usual = self._usual
        if usual is not None and event.headers == usual[0]:
            self._open(event, usual[1], None, usual[2])
            return
        headers = dict(event.headers)
        path = headers.get(b":path", b"")
        size = len(b"".join(chain.from_iterable(event.headers)))
        size += _FIELD_OVERHEAD * len(event.headers)
        if size > self.limits.max_header_list:
            self.warn("%d bytes of request headers refused", size)
            self._refuse(
                event.stream_id,
                Status.RESOURCE_EXHAUSTED,
                f"request headers of {size} bytes are over the limit of "
                f"{self.limits.max_header_list}",
            )
            return
        if headers.get(b":method") != b"POST":
            self._refuse_http(event, b"405")
            return
        content_type = headers.get(b"content-type", b"")
        if content_type not in _CONTENT_TYPES and not _is_grpc(content_type):
            self._refuse_http(event, b"415")
            return
        method = self._methods.get(path)
        if method is None:
            name = path.decode("latin-1")
            self.warn("unknown method %s", name[:200])
            self._refuse(event.stream_id, Status.UNIMPLEMENTED, f"unknown method {name}")
            return
        self._accept(event, headers, method)

    def _accept(self, event: RequestReceived, headers: dict[bytes, bytes], method: Method) -> None:
        agreed = None
        if ENCODING in headers or self._encoder is not None:
            try:
                agreed = negotiate(self.compression, self._encoder, headers)
            except ValueError as error:
                accepted = [self.compression.accept]
                self._refuse(event.stream_id, Status.UNIMPLEMENTED, str(error), accepted)
                return
        deadline = None
        timeout = headers.get(b"grpc-timeout")
        if timeout is not None:
            try:
                deadline = Deadline.from_timeout(decode_timeout(timeout))
            except ValueError as error:
                self._refuse(event.stream_id, Status.INTERNAL, str(error))
                return
        else:
            self._usual = event.headers, method, agreed
        self._open(event, method, deadline, agreed)

    def _open(
        self,
        event: RequestReceived,
        method: Method,
        deadline: Deadline | None,
        agreed: Agreed | None,
    ) -> None:
        if self.running >= 2 * self.limits.max_concurrent_streams:
            # Handlers of calls that were reset are still cleaning up: too fast for us.
            self.reset(event.stream_id, ErrorCode.REFUSED_STREAM)
            return
        self.calls_started += 1
        call = method.stream(self, event.stream_id, method, event.headers, deadline)
        if agreed is not None:
            call.agree(*agreed)
        self.calls[event.stream_id] = call
        if event.end_stream:
            call.end_received()
        # A unary handler starts when its request is complete, unless a deadline watches over it.
        at_once = deadline is not None and method.in_place is None
        if method.handler.cardinality.client_streaming or event.end_stream or at_once:
            self._start(call)

    def _on_data(self, event: DataReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is None:
            if event.data:
                self.acknowledge(event.stream_id, len(event.data))
            return
        call.data_received(event.data, event.end_stream)
        assert isinstance(call, ServerStream)
        if not call.started and call.ready:
            self._start(call)

    def _on_trailers(self, event: TrailersReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.end_received()
            assert isinstance(call, ServerStream)
            if not call.started:
                self._start(call)

    def _start(self, call: ServerStream[Any, Any]) -> None:
        call.started = True
        if not (isinstance(call, InPlaceCall) and call.take()):
            self.run_handler(call)

    def run_handler(self, call: ServerStream[Any, Any]) -> None:
        """Run the call's handler in a task, if the server may run one more."""
        if self.running >= self.allowance and not self.shared.budget.ask(self):
            call.fail(
                GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"the server runs {self.limits.max_handlers} handlers already",
                )
            )
            return
        self.running += 1
        self._workers.start(call)

    def handler_done(self) -> None:
        """A handler's task is ending."""
        self.running -= 1
        self.queued(2)  # a message and the status, as a rule

    # ---- refusing ----------------------------------------------------------------------------

    def _refuse(
        self,
        stream_id: int,
        status: Status,
        message: str,
        extra: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Answer with a status and nothing else ("trailers-only")."""
        fields = status_headers(status, message, limit=self.limits.max_status)
        self._answer(stream_id, RESPONSE + fields + (extra or []))

    def _refuse_http(self, event: RequestReceived, code: bytes) -> None:
        self.warn("not a gRPC request, answered HTTP %s", code.decode())
        self._answer(event.stream_id, [(b":status", code)])

    def _answer(self, stream_id: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.calls_started += 1
        self.calls_failed += 1
        try:
            self.engine.send_response(stream_id, headers, end_stream=True)
        except Http2Error as error:
            log.info("%s: no way to refuse a call: %s", self.name, error)
        self.reset_when_sent(stream_id, ErrorCode.NO_ERROR)

    async def _on_violation(self, data: bytes | bytearray, error: ProtocolViolation) -> None:
        beginning = bytes(data[:4096])
        await super()._on_violation(data, error)
        if not self.greeted and b"HTTP/1." in beginning:
            with trio.move_on_after(self.limits.close_timeout):
                try:
                    await self._stream.send_all(_HTTP1_ANSWER)
                except (trio.BrokenResourceError, trio.BusyResourceError):
                    log.debug("%s: gone before the HTTP/1 answer", self.name)


class TimedServerConnection(Timed, ServerConnection):
    """One that is in a register."""


def _is_grpc(content_type: bytes) -> bool:
    """Whether a content type is ours apart from parameters."""
    return content_type.partition(b";")[0].strip() in _CONTENT_TYPES
