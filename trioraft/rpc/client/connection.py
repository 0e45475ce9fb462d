"""The connecting end of a connection: opening streams, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import trio

from trioraft.rpc.limits import Limits
from trioraft.rpc.peer import Peer
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.connection import Connection
from trioraft.rpc.wire.http2 import (
    ErrorCode,
    GoAwayReceived,
    Http2Error,
    ResponseReceived,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
    client_engine,
    max_streams_of,
)

from .answer import AnsweredCall


class ClientConnection(Connection):
    """One connection of a channel.

    Ready once the server's SETTINGS are here: until then neither is it known to speak HTTP/2 nor
    how many streams it takes.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        limits: Limits,
        name: str,
        on_ready: Callable[[ClientConnection], None],
    ) -> None:
        super().__init__(stream, client_engine(limits), limits, name)
        self.peer = Peer(stream)
        #: Whether new calls may start here.
        self.accepting = False
        #: The last `grpc-accept-encoding` that a call with compression got; None before that.
        self.accepted_encodings: bytes | None = None
        #: Whether any call has started here.
        self.used = False
        self._refused: list[StreamClosed] = []
        self._ready = False
        self._on_ready = on_ready
        self._max_streams = limits.max_concurrent_streams
        self.dirty = True  # the client speaks first; the server once it has heard HTTP/2
        self._slots = trio.lowlevel.ParkingLot()
        self._handlers[ResponseReceived] = self._on_response
        self._handlers[TrailersReceived] = self._on_trailers

    # ---- for the channel and its calls -------------------------------------------------------

    @property
    def max_streams(self) -> int:
        """Calls at once that the server and our own limits allow."""
        return self._max_streams

    @property
    def has_slot(self) -> bool:
        """Whether a stream may be opened here right now."""
        return self.accepting and len(self.calls) < self._max_streams and not self._slots

    async def slot(self) -> None:
        """Wait until one more stream may be opened here, or `accepting` turns false.

        No checkpoint if there is room. Cancelling gives the place in the queue up.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED: `Limits.max_waiting_calls` are waiting already.
        """
        while self.accepting and len(self.calls) >= self._max_streams:
            if len(self._slots) >= self.limits.max_waiting_calls:
                raise GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"{self.name}: {len(self._slots)} calls wait for one of "
                    f"{self._max_streams} streams already",
                )
            await self._slots.park()

    def open(
        self,
        call: AnsweredCall[Any, Any],
        headers: Sequence[tuple[bytes, bytes]],
        *,
        end_stream: bool,
    ) -> int:
        """Open a stream for a call that has found a slot; return its id.

        Raises:
            GRPCError: UNAVAILABLE: the connection takes no more streams.
        """
        try:
            stream_id = self.engine.send_request(headers, end_stream=end_stream)
        except Http2Error as error:
            self._retire()
            raise GRPCError(Status.UNAVAILABLE, f"{self.name}: {error}") from error
        self.calls[stream_id] = call
        self.calls_started += 1
        self.opened = True
        self.used = True
        self.mark_dirty()
        return stream_id

    # ---- events ------------------------------------------------------------------------------

    def _on_settings(self, event: SettingsReceived) -> None:
        super()._on_settings(event)
        allowed = max_streams_of(event)
        if allowed is not None:
            self._max_streams = min(allowed, self.limits.max_concurrent_streams)
            self._slots.unpark_all()
        if not self._ready:
            self._ready = self.accepting = True
            self._on_ready(self)

    def _on_response(self, event: ResponseReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            assert isinstance(call, AnsweredCall)
            call.response_received(event.headers, event.end_stream)

    def _on_trailers(self, event: TrailersReceived) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            assert isinstance(call, AnsweredCall)
            call.trailers_received(event.headers)

    def _on_stream_closed(self, event: StreamClosed) -> None:
        if self.peer_leaves and event.error_code == ErrorCode.REFUSED_STREAM:
            self._refused.append(event)
            return
        super()._on_stream_closed(event)
        if self._slots:
            self._slots.unpark()

    def _dispatch(self) -> bool:
        # GOAWAY closes the streams that the server has not seen all at once, in the random order
        # of the engine's table. Callers hear of it in the order of their calls, run after run.
        busy = super()._dispatch()
        if self._refused:
            refused, self._refused = self._refused, []
            for event in sorted(refused, key=attrgetter("stream_id")):
                super()._on_stream_closed(event)
        return busy

    def _on_goaway(self, event: GoAwayReceived) -> None:
        super()._on_goaway(event)
        self._retire()

    def _retire(self) -> None:
        """Start no more calls here; those that wait for a slot look for another connection."""
        self.accepting = False
        self._slots.unpark_all()

    def _lost(self, error: GRPCError) -> None:
        super()._lost(error)
        self._retire()
