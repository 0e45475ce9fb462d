"""What a client asks a server about its health: one watch per connection, for as long as it lasts.

Source: gRPC proposal A17 (client-side health checking), health-checking.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.calls.own import OwnCall
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

    def unimplemented(self, name: str) -> None:
        """A server does not know what health is. Said once, not by each of its connections."""
        if not self._warned:
            self._warned = True
            problem = f"{name}: no health service (UNIMPLEMENTED): servers count as healthy"
            log.warning("%s", problem)
            if self.channel.entry is not None:
                self.channel.entry.problem(problem)


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
        call = OwnCall(self._checks.channel, _WATCH, self._checks.reply_type)
        answered = False
        try:
            call.begin(self._connection, await call.headers(), self._checks.request)
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
