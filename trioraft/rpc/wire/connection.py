"""One HTTP/2 connection: two tasks around one engine.

`writing.py` has the writer task, `reading.py` the reader task, `running.py` how both run and end.
Here is what the engine's events mean for the calls and for the connection itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.peer import Peer

from .budget import Budget
from .http2 import (
    Connection as Engine,
)
from .http2 import (
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    GoAwayReceived,
    Http2Error,
    PingReceived,
    SettingsReceived,
    StreamClosed,
)
from .running import Running

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

__all__ = ["Connection"]

log = logging.getLogger(__name__)


class Connection(Running):
    """Runs an engine over a byte stream. The ends (`server`, `client`) subclass it."""

    peer: Peer

    def __init__(self, stream: trio.abc.Stream, engine: Engine, limits: Limits, name: str) -> None:
        super().__init__(stream, engine, limits, name)
        # Counts for channelz. A call in `calls` has not ended; one that has and did not fail
        # has succeeded.
        self.calls_started = 0  # of those that have a stream
        self.calls_failed = 0  # ended with anything but OK
        self.streams_failed = 0  # ended without END_STREAM from the server
        self.messages_sent = 0  # handed to the engine
        self.messages_received = 0  # taken by the application
        self.keepalives_sent = 0
        #: The code of the GOAWAY that the peer has sent, if it has.
        self.goaway_code: int | None = None
        self.peer_leaves: bool = False  # GOAWAY has come
        self._control = Budget(limits.control_burst, limits.control_rate)
        self._progress = 0  # of calls and messages when the last PING came
        self._handlers: dict[type, Callable[[Any], None]] = {
            DataReceived: self._on_data,
            StreamClosed: self._on_stream_closed,
            SettingsReceived: self._on_settings,
            PingReceived: self._on_ping,
            GoAwayReceived: self._on_goaway,
            ConnectionClosed: self._on_connection_closed,
        }

    def _dispatch(self) -> int:
        """Hand the engine's events on; returns how many there were."""
        events = self.engine.events()
        handlers = self._handlers
        for event in events:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)
        return len(events)

    def _on_data(self, event: DataReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.data_received(event.data, event.end_stream)
        elif event.data:
            self.acknowledge(event.stream_id, len(event.data))

    def _on_stream_closed(self, event: StreamClosed) -> None:
        call = self.calls.pop(event.stream_id, None)
        if call is not None:
            call.stream_closed(event.error_code, event.local_error)

    def _on_settings(self, event: SettingsReceived) -> None:
        self._handshake.deadline = math.inf
        self._spend_control()

    def _on_ping(self, event: PingReceived) -> None:
        # Peers that measure the bandwidth ping between messages as often as they come.
        progress = self.calls_started + self.messages_sent + self.messages_received
        if progress == self._progress:
            self._spend_control()
        self._progress = progress

    def _spend_control(self) -> None:
        if not self._control.spend(trio.current_time()):
            self._goodbye = int(ErrorCode.ENHANCE_YOUR_CALM)
            log.warning("%s: closing: a flood of SETTINGS or PING", self.name)
            raise Http2Error("the peer sent too many SETTINGS or PING frames")

    def _on_goaway(self, event: GoAwayReceived) -> None:
        self.peer_leaves = True
        self.goaway_code = event.error_code
        if event.error_code:
            debug = event.debug_data[:200]
            self.warn("peer is closing: error %d %r", event.error_code, debug)

    def _on_connection_closed(self, event: ConnectionClosed) -> None:
        self._over = True
        if not self.peer_leaves:
            self._broken = event.error_code
        self.mark_dirty()
