"""What a server's connection lets its `Life` do with it and see of it."""

from __future__ import annotations

import logging
from typing import Any

import trio

from trioraft.rpc.peer import Peer
from trioraft.rpc.server.shared import Shared
from trioraft.rpc.server.stream import ServerStream
from trioraft.rpc.status import GRPCError
from trioraft.rpc.wire.call import Call
from trioraft.rpc.wire.connection import Connection
from trioraft.rpc.wire.http2 import (
    ConnectionClosed,
    ErrorCode,
    Http2Error,
    PingAcknowledged,
    PingReceived,
    SettingsReceived,
    server_engine,
)

from .life import Life

__all__ = ["ManagedConnection"]

log = logging.getLogger(__name__)


class ManagedConnection(Connection):
    """A connection of a server, apart from what it does with requests."""

    def __init__(self, stream: trio.abc.Stream, shared: Shared) -> None:
        self.peer: Peer = Peer(stream)
        limits = shared.limits
        super().__init__(stream, server_engine(limits), limits, f"client {self.peer}")
        self.shared = shared
        #: Whether the client has sent SETTINGS.
        self.greeted: bool = False
        #: Handlers that run, including those whose stream is gone already, and how many may.
        self.running = self.allowance = 0
        self.life: Life = Life(self, shared)
        self._scope: trio.CancelScope | None = None  # of the connection's tasks
        self._handlers[PingAcknowledged] = self.life.ping_acknowledged

    async def run(self, timeout: float) -> None:
        """As `Connection.run`; the server knows of it meanwhile."""
        try:
            await super().run(timeout)
        finally:
            self.life.end()
            self.shared.connections.pop(self, None)
            self.shared.budget.give_back(self)

    def _started(self, nursery: trio.Nursery) -> None:
        self._scope = nursery.cancel_scope
        self.shared.connections[self] = None
        self.life.begin()
        if self.shared.leaving is not None:
            self.life.leave(*self.shared.leaving)

    def _on_settings(self, event: SettingsReceived) -> None:
        super()._on_settings(event)
        if not self.greeted:
            self.greeted = True
            self.life.greeted()

    def _on_ping(self, event: PingReceived) -> None:
        super()._on_ping(event)
        self.life.ping_received()

    def _on_connection_closed(self, event: ConnectionClosed) -> None:
        super()._on_connection_closed(event)
        if self.end_cause:
            self._broken = 0  # the error was ours to report, not the client's

    # ---- what there is to see ----------------------------------------------------------------

    def signs_of_life(self) -> tuple[int, int, int, int]:
        """Numbers that change when the client sends anything that matters."""
        engine = self.engine
        try:
            windows = engine.local_window_size, engine.remote_window_size
        except Http2Error:
            windows = 0, 0  # the session is ending
        return (self.calls_started, self.messages_received, *windows)

    def signs_of_sending(self) -> tuple[int, int, int]:
        """Numbers that change when calls send something: messages, parts of them, statuses."""
        ended = self.calls_started - len(self.calls)
        try:
            queued = self.engine.queued_body_size()
        except Http2Error:
            queued = 0  # the session is ending
        return self.messages_sent, ended, queued

    def has_awaited(self) -> bool:
        """Whether a stop waits for a call that is open, or may still come, on this connection."""
        return not self.said_goodbye or any(
            call.method.awaited for call in self.calls.values() if isinstance(call, ServerStream)
        )

    # ---- what there is to do -----------------------------------------------------------------

    def ping(self, payload: bytes) -> None:
        """Send PING with eight bytes of payload."""
        try:
            self.engine.ping(payload)
        except Http2Error:
            return  # the session is ending
        self.mark_dirty()

    def announce_end(self, payload: bytes) -> None:
        """The first GOAWAY, which refuses nothing yet, and PING behind it."""
        self.lingers: bool = True
        try:
            self.engine.send_shutdown_notice()
            # Taken at once, or PING, which the engine prefers, overtakes it.
            self._early += self.engine.data_to_send()
            self.engine.ping(payload)
        except Http2Error:
            return  # the session is ending
        self.mark_dirty()

    def say_goodbye(self) -> None:
        """The second GOAWAY: no more calls. The connection ends with those that are open."""
        self._send_goaway(ErrorCode.NO_ERROR, b"")
        self.mark_dirty()

    def end_call(self, call: Call[Any, Any], error: GRPCError) -> None:
        """End a call over its handler's head."""
        assert isinstance(call, ServerStream)
        call.end_early(error)

    def dismiss(self, why: str, code: int = ErrorCode.NO_ERROR, debug: bytes = b"") -> None:
        """End the connection now, once what is queued and GOAWAY are sent, which may take
        `Limits.close_timeout`. Cancels its handlers then. Never waits.
        """
        if self.end_cause:
            return
        self.lingers = True
        self.end_cause = why
        log.log(logging.WARNING if code else logging.INFO, "%s: closing: %s", self.name, why)
        if code or not self.said_goodbye:
            self._send_goaway(code, debug)
        self._over = True
        self.mark_dirty()
        if self._scope is not None:
            self._scope.deadline = trio.current_time() + self.limits.close_timeout

    def _send_goaway(self, code: int, debug: bytes) -> None:
        try:
            self.engine.send_goaway(code, debug_data=debug)
        except Http2Error:
            return  # the session is ending
        self.said_goodbye = True
