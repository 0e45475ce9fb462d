"""What a client asks a server about its health: one watch per connection, for as long as it lasts.

Source: gRPC proposal A17 (client-side health checking), health-checking.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.calls.standing import StandingCall

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


class HealthWatch(StandingCall):
    """The health of one connection's server, as its `state`.

    CONNECTING until there is an answer, READY while it is SERVING or the server has no health
    service, else TRANSIENT_FAILURE, also when the stream has ended and while the next one is not
    due yet.
    """

    def __init__(
        self,
        checks: HealthChecks,
        connection: ClientConnection,
        state: ConnectivityState,
        changed: Callable[[HealthWatch], None],
    ) -> None:
        """state: until there is an answer. changed: hears of each other one; it must not wait."""
        super().__init__(checks.channel, connection, _WATCH, checks.request, checks.reply_type)
        self.state = state
        #: Why, if it is TRANSIENT_FAILURE.
        self.reason = ""
        self._checks = checks
        self._changed = changed
        self._scope = trio.CancelScope()

    def end(self) -> None:
        """The connection takes no more calls: nothing is reported any more. Never waits."""
        self._scope.cancel()

    async def run(self) -> None:
        """As the base's, or until `end`."""
        with self._scope:
            await super().run()

    def _take(self, reply: Any) -> None:
        if reply.status == self._checks.reply_type.SERVING:
            self._enter(_READY)
        else:
            self._enter(_FAILING, f"not healthy: {self._checks.name_of(reply.status)}")

    def _unknown(self) -> None:
        self._checks.unimplemented(self._connection.name)
        self._enter(_READY)

    def _lost(self, reason: str) -> None:
        self._enter(_FAILING, f"its health watch {reason}")

    def _next(self) -> None:
        self._enter(_CONNECTING)

    def _enter(self, state: ConnectivityState, reason: str = "") -> None:
        if self._scope.cancel_called or (state, reason) == (self.state, self.reason):
            return
        self.state, self.reason = state, reason
        self._changed(self)
