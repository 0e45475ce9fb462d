"""The receiving side of a connection: the task that reads, and the windows that it may fill.

The reader task feeds what the socket brings to the engine and hands its events to the calls, by
plain method calls.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import trio

from .http2 import Connection as Engine
from .http2 import Http2Error, ProtocolViolation
from .writing import PIECES, Writing

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

    from .receiving import Receiving

__all__ = ["READ_SIZE", "Reading"]

log = logging.getLogger(__name__)

#: What is taken from the socket at once.
READ_SIZE = 64 * 1024
# A read that holds more events than this, about 10 ms of new calls, makes the next one shorter:
# whoever sends much that is small must not make the others wait for all of it.
_FAIR_EVENTS = 256
_LEAST_READ = 4 * 1024
# Bytes per event from which on a read counts as bulk. Small messages take much longer to handle.
_BULK_EVENT = 8 * 1024
# Lines that the log gets of one connection's mistakes: it must not be what fills the disk.
_WARNINGS = 20

#: GOAWAY without an error (RFC 9113 §6.8), from its type on: no flags, stream 0, any last stream.
_FAREWELL = re.compile(rb"\x07\0\0\0\0\0.{4}\0\0\0\0", re.DOTALL)


class Reading(Writing):
    """A connection as what takes input sees it. `Running` adds how it begins and ends."""

    def __init__(self, stream: trio.abc.Stream, engine: Engine, limits: Limits, name: str) -> None:
        super().__init__(stream, engine, name)
        self.limits = limits
        self.bulk_streams: int = 0  # that have a window of `Limits.bulk_window`
        #: Bytes that calls keep of messages which are not complete.
        self.held = 0
        #: The most of them. One message of the largest size is always possible.
        self.max_held: int = max(limits.max_buffered, 2 * limits.max_receive_message)
        self._warnings = 0
        self._deliveries: list[Receiving[Any]] = []  # calls whose sink gets what a read brought
        self._broken = 0  # the error that the engine has closed the connection over

    # ---- for calls ---------------------------------------------------------------------------

    def widen(self, stream_id: int) -> bool:
        """Give the stream a window of `Limits.bulk_window`, if one more such may be."""
        limits = self.limits
        if (
            self.bulk_streams >= limits.max_bulk_streams
            or limits.bulk_window <= limits.stream_window
        ):
            return False
        try:
            self.engine.set_local_window_size(limits.bulk_window, stream_id=stream_id)
        except Http2Error:
            return False  # the peer has ended its direction: nothing more comes
        self.bulk_streams += 1
        self.mark_dirty()
        return True

    def acknowledge(self, stream_id: int, amount: int) -> None:
        """`amount` received bytes are consumed: reopen the windows by them."""
        try:
            self.engine.acknowledge_received_data(amount, stream_id)
        except Http2Error:
            return  # the session is ending: there are no windows to reopen
        if self.engine.want_write:
            self.mark_dirty()

    def warn(self, problem: str, *arguments: object) -> None:
        """Log a mistake of the peer, unless the log has had enough of this connection's."""
        self._warnings += 1
        if self._warnings <= _WARNINGS:
            log.warning("%s: " + problem, self.name, *arguments)
        if self._warnings == _WARNINGS:
            log.warning("%s: no more of its mistakes are logged", self.name)

    def deliver_later(self, call: Receiving[Any]) -> None:
        """Messages for the call's sink are here: hand them over once all events are dispatched."""
        if not self._deliveries or self._deliveries[-1] is not call:
            self._deliveries.append(call)

    # ---- the task ----------------------------------------------------------------------------

    async def _read_loop(self) -> str:
        """Read until there is no more to read; return why."""
        receive, feed = self._pipe.receive, self.engine.receive_data
        data: bytes | bytearray = b""
        piece: bytes | bytearray
        receive_now = self._pipe.receive_now
        pieces = 0  # to be read without waiting
        size = READ_SIZE
        try:
            while True:
                piece = receive_now(READ_SIZE) if pieces else b""
                fresh = not piece
                if fresh:
                    piece = await receive(size)
                    if not piece:
                        return "the peer closed the connection"
                data = piece  # the last there was, if it turns out to be wrong
                if self.opened:
                    # A GOAWAY in `data` would make the engine drop what it has not framed yet.
                    self._early += self.engine.data_to_send()
                    self.opened = False
                feed(piece)
                events = self._dispatch()
                if events > _FAIR_EVENTS:
                    size = max(_LEAST_READ, size * _FAIR_EVENTS // events)
                elif size < READ_SIZE:
                    size = min(READ_SIZE, 2 * size)
                if len(piece) < READ_SIZE or events * _BULK_EVENT > READ_SIZE:
                    pieces = 0
                else:
                    pieces = PIECES - 1 if fresh else pieces - 1
                if self._deliveries:
                    self._hand_over()
                if self.engine.want_write:
                    self.mark_dirty()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            return f"the connection broke: {error}"
        except ProtocolViolation as error:
            await self._on_violation(data, error)
            return f"protocol error: {error}"
        except Http2Error as error:
            return f"the HTTP/2 session ended: {error}"
        finally:
            if self._broken:
                self._say_broken(data)

    def _hand_over(self) -> None:
        deliveries, self._deliveries = self._deliveries, []
        for call in deliveries:
            call.hand_over()

    async def _on_violation(self, data: bytes | bytearray, error: ProtocolViolation) -> None:
        log.warning("%s: peer broke HTTP/2: %s", self.name, error)

    def _say_broken(self, data: bytes | bytearray) -> None:
        """The engine has closed the connection over what is in `data`, the last that was read."""
        # grpc-go's clients leave so, and name the last stream of their own. libnghttp2 takes that
        # for an error: it has to be one of the server's. They have ended their calls before.
        if not _FAREWELL.search(data):
            self.warn("peer broke HTTP/2: error %d", self._broken)
