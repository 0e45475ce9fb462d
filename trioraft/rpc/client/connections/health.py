"""What a client asks a server about its health: one watch per connection, for as long as it lasts.

Source: gRPC proposal A17 (client-side health checking), health-checking.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio
from grpclib.const import Cardinality

from trioraft.rpc.client.calls.answer import AnsweredCall
from trioraft.rpc.credentials import metadata_of
from trioraft.rpc.metadata import encode_metadata
from trioraft.rpc.status import GRPCError, Status

from .backoff import Backoff
from .connectivity import ConnectivityState

if TYPE_CHECKING:
    from trioraft.rpc.client.channel import Channel

    from .connection import ClientConnection

__all__ = ["HealthChecks", "HealthWatch"]

log = logging.getLogger(__name__)

_WATCH = "/grpc.health.v1.Health/Watch"

_CONNECTING = ConnectivityState.CONNECTING
_READY = ConnectivityState.READY
_FAILING = ConnectivityState.TRANSIENT_FAILURE


class HealthChecks:
    """What all watches of a channel have in common, for one name of a service."""

    def __init__(self, channel: Channel, service: str) -> None:
        """service: `""` for the server as a whole."""
        # Who asks for no health does not load its messages.
        from trioraft._proto.grpc.health_pb2 import HealthCheckRequest, HealthCheckResponse

        self.channel = channel
        self.service = service
        self.request: bytes = HealthCheckRequest(service=service).SerializeToString()
        self.reply_type: type[HealthCheckResponse] = HealthCheckResponse
        self._warned = False

    def name_of(self, status: int) -> str:
        """A status in words; one that is not known yet as its number."""
        names: Any = self.reply_type.ServingStatus
        return str(names.Name(status)) if status in names.values() else f"status {status}"

    async def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Those of a watch, the channel's call credentials included.

        Raises:
            GRPCError: The credentials have failed.
        """
        headers = self.channel.request_headers(_WATCH)
        if self.channel.credentials != ():
            metadata = await metadata_of(self.channel.credentials, self.channel.authority, _WATCH)
            headers = [*headers, *encode_metadata(metadata)]
        return headers

    def unimplemented(self, name: str) -> None:
        """A server does not know what health is. Said once, not by each of its connections."""
        if not self._warned:
            self._warned = True
            log.warning("%s: no health service (UNIMPLEMENTED): servers count as healthy", name)


class _WatchCall(AnsweredCall[Any, Any]):
    """A call on the connection that it is about: never made again, seen by no interceptor."""

    def __init__(self, checks: HealthChecks) -> None:
        sent, received = bytes, checks.reply_type
        super().__init__(
            checks.channel, _WATCH, Cardinality.UNARY_STREAM, sent, received, None, None
        )

    def begin(
        self, connection: ClientConnection, headers: Sequence[tuple[bytes, bytes]], request: bytes
    ) -> None:
        """Send the request. Never waits. Raises GRPCError if the connection takes no streams."""
        self._id = connection.open_watch(self, headers)
        self._connection = connection
        self._sent_request = True
        self._put(request, True)

    def leave(self) -> None:
        """Reset the stream, if it is open."""
        if self._sent_request:
            self._reset()


class HealthWatch:
    """The health of one connection's server, as its `state`.

    CONNECTING until there is an answer, READY while it is SERVING or the server has no health
    service, else TRANSIENT_FAILURE, also when the stream has ended and while the next one is not
    due yet. Streams are spaced as connections are; one that was answered begins the pauses anew.
    So a server that answers and hangs up at once is not asked without end, where A17 would ask it
    again immediately.
    """

    def __init__(
        self,
        checks: HealthChecks,
        connection: ClientConnection,
        backoff: Backoff,
        state: ConnectivityState,
        changed: Callable[[HealthWatch], None],
    ) -> None:
        """state: until there is an answer. changed: hears of each other one; it must not wait."""
        self.state = state
        #: Why, if it is TRANSIENT_FAILURE.
        self.reason = ""
        self._checks = checks
        self._connection = connection
        self._backoff = backoff
        self._changed = changed
        self._scope = trio.CancelScope()

    def end(self) -> None:
        """The connection takes no more calls: nothing is reported any more. Never waits."""
        self._scope.cancel()

    async def run(self) -> None:
        """Task: until `end`, or until the server turns out to have no health service."""
        with self._scope:
            while await self._watch():
                self._enter(_CONNECTING)

    async def _watch(self) -> bool:
        """One stream and the pause after it; whether there is to be another."""
        began = trio.current_time()
        due = self._backoff.begin(began)
        call = _WatchCall(self._checks)
        answered = False
        try:
            call.begin(self._connection, await self._checks.headers(), self._checks.request)
            while (reply := await call.recv_message()) is not None:
                if not answered:
                    answered = True
                    self._backoff.reset()
                    due = self._backoff.begin(began)
                self._judge(reply.status)
            reason = "its health watch has ended"
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                self._checks.unimplemented(self._connection.name)
                self._enter(_READY)
                return False
            reason = f"its health watch has failed: {error.status.name}: {error.message}"
        finally:
            call.leave()
        self._enter(_FAILING, reason)
        await trio.sleep_until(due)
        return True

    def _judge(self, status: int) -> None:
        if status == self._checks.reply_type.SERVING:
            self._enter(_READY)
        else:
            self._enter(_FAILING, f"not healthy: {self._checks.name_of(status)}")

    def _enter(self, state: ConnectivityState, reason: str = "") -> None:
        if self._scope.cancel_called or (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        self._changed(self)
