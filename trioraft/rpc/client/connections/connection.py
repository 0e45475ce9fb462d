"""The connecting end of a connection: opening streams, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Protocol

import trio

from trioraft.rpc.client.calls.answer import AnsweredCall
from trioraft.rpc.limits import Limits
from trioraft.rpc.peer import Peer
from trioraft.rpc.registry.timed import Timed
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

from .keepalive import Pace, WatchedPipe, keep_alive

# The debug data of a GOAWAY to a client that sends too many PINGs (gRPC proposal A8).
_TOO_MANY_PINGS = b"too_many_pings"


class Owner(Protocol):
    """What a connection belongs to. Neither method may wait."""

    def connected(self, connection: ClientConnection) -> None:
        """The server's SETTINGS are here: calls may start."""

    def retired(self, connection: ClientConnection, reason: str) -> None:
        """No further call may start; those that run go on, unless the connection is lost."""


class ClientConnection(Connection):
    """One connection of a channel.

    Ready once the server's SETTINGS are here: until then neither is it known to speak HTTP/2 nor
    how many streams it takes. A connection that takes no more calls ends with the last of them.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        limits: Limits,
        name: str,
        owner: Owner,
        slots: trio.lowlevel.ParkingLot,
        pace: Pace | None = None,
    ) -> None:
        """slots: where calls wait for a free stream. pace: of the keepalive, if there is one."""
        super().__init__(stream, client_engine(limits), limits, name)
        self.peer: Peer = Peer(stream)
        #: Whether new calls may start here.
        self.accepting: bool = False
        #: The last `grpc-accept-encoding` that a call with compression got; None before that.
        self.accepted_encodings: bytes | None = None
        #: Response headers in which the last call that looked found all well, and nothing to do.
        self.usual_response: tuple[tuple[bytes, bytes], ...] = ()
        self._refused: list[StreamClosed] = []
        self._ready = False
        self._owner = owner
        self._max_streams = limits.max_concurrent_streams
        self._watches = 0  # how many streams of the channel's own were opened
        self._watching: set[int] = set()  # those of them that may still be open
        self._first_unsent = 0  # of the streams opened since output was last taken
        self.dirty = True  # the client speaks first; the server once it has heard HTTP/2
        self._slots = slots
        self._pace = pace
        self._dormant: trio.Event | None = None  # set by the next call, for the keepalive
        self._tasks: trio.CancelScope | None = None
        self._stopped_for = ""
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

    @property
    def has_room(self) -> bool:
        """As `has_slot`, for a call that has waited its turn."""
        return self.accepting and len(self.calls) < self._max_streams

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
            self.drain(str(error))
            raise GRPCError(Status.UNAVAILABLE, f"{self.name}: {error}") from error
        self.calls[stream_id] = call
        self.calls_started += 1
        if not self.opened:
            self._first_unsent = stream_id
        self.opened = True
        if self._dormant is not None:
            self._dormant.set()
        self.mark_dirty()
        return stream_id

    def open_watch(
        self, call: AnsweredCall[Any, Any], headers: Sequence[tuple[bytes, bytes]]
    ) -> int:
        """As `open`, for a call of the channel's own: it is no use of the connection."""
        stream_id = self.open(call, headers, end_stream=False)
        self._watching.intersection_update(self.calls)
        self._watching.add(stream_id)
        self._watches += 1
        return stream_id

    @property
    def uses(self) -> int:
        """How many calls have started here, the channel's own left out."""
        return self.calls_started - self._watches

    @property
    def busy(self) -> bool:
        """Whether calls run here other than the channel's own."""
        return not self._watching.issuperset(self.calls)

    def unsent(self, stream_id: int) -> bool:
        """Whether the request of this stream has certainly not left us."""
        return self.opened and stream_id >= self._first_unsent

    def watch_trailers(
        self, watcher: Callable[[tuple[tuple[bytes, bytes], ...]], None] | None
    ) -> None:
        """Have each call's trailers shown to `watcher` first, None for nobody.

        It must neither wait nor raise.

        Connections without one do not even ask whether there is one.
        """
        self._handlers[ResponseReceived] = self._on_response
        self._handlers[TrailersReceived] = self._on_trailers
        if watcher is None:
            return

        def on_response(event: ResponseReceived) -> None:
            if event.end_stream:
                watcher(event.headers)
            self._on_response(event)

        def on_trailers(event: TrailersReceived) -> None:
            watcher(event.headers)
            self._on_trailers(event)

        self._handlers[ResponseReceived] = on_response
        self._handlers[TrailersReceived] = on_trailers

    async def next_call(self) -> None:
        """Wait until another call starts here. For one task at a time."""
        self._dormant = trio.Event()
        await self._dormant.wait()
        self._dormant = None

    def drain(self, reason: str) -> None:
        """Start no more calls, and end once those that run have ended. Never waits."""
        self._retire(reason)
        # Calls pay nothing for this as long as nobody drains.
        self._handlers[StreamClosed] = self._on_last_streams
        if not self.calls:
            self.stop(reason)

    def stop(self, reason: str) -> None:
        """End now: calls that run fail with UNAVAILABLE and this reason. Never waits."""
        self._stopped_for = self._stopped_for or reason
        self._retire(reason)
        if self._tasks is not None:
            self._tasks.cancel()

    # ---- tasks -------------------------------------------------------------------------------

    def _started(self, nursery: trio.Nursery) -> None:
        self._tasks = nursery.cancel_scope
        if self._pace is not None:
            self._pipe = pipe = WatchedPipe(self._pipe)
            nursery.start_soon(keep_alive, self, pipe, self._pace)

    # ---- events ------------------------------------------------------------------------------

    def _on_settings(self, event: SettingsReceived) -> None:
        super()._on_settings(event)
        allowed = max_streams_of(event)
        if allowed is not None:
            before = self._max_streams
            self._max_streams = min(allowed, self.limits.max_concurrent_streams)
            if self._max_streams > before:
                self._slots.unpark_all()
        if not self._ready:
            self._ready = self.accepting = True
            self._owner.connected(self)

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

    def _on_last_streams(self, event: StreamClosed) -> None:
        self._on_stream_closed(event)
        if not self.calls:
            self.stop("the connection takes no more calls")

    def _dispatch(self) -> int:
        # GOAWAY closes the streams that the server has not seen all at once, in the random order
        # of the engine's table. Callers hear of it in the order of their calls, run after run.
        count = super()._dispatch()
        if self._refused:
            refused, self._refused = self._refused, []
            for event in sorted(refused, key=attrgetter("stream_id")):
                super()._on_stream_closed(event)
            if not self.calls:
                self.stop("the server took no more calls")
        return count

    def _on_goaway(self, event: GoAwayReceived) -> None:
        super()._on_goaway(event)
        calm = event.error_code == ErrorCode.ENHANCE_YOUR_CALM
        if calm and event.debug_data == _TOO_MANY_PINGS and self._pace is not None:
            self._pace.slow_down(self.name)
        self.drain(f"the server takes no more calls (GOAWAY, error {event.error_code})")

    def _retire(self, reason: str) -> None:
        """Start no more calls here; those that wait for a slot look for another connection."""
        if self.accepting:
            self.accepting = False
            self._owner.retired(self, f"{self.name}: {reason}")

    def _lost(self, error: GRPCError) -> None:
        if self._stopped_for:
            self.end_reason = f"{self.name}: {self._stopped_for}"
            error = GRPCError(Status.UNAVAILABLE, self.end_reason)
        super()._lost(error)
        self._retire(self.end_reason.removeprefix(f"{self.name}: "))


class TimedClientConnection(Timed, ClientConnection):
    """One that is in a register."""
