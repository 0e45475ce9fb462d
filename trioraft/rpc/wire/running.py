"""How a connection runs and ends: its two tasks in one nursery, GOAWAY, and closing the stream."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.peer import notice_silence
from trioraft.rpc.status import GRPCError, Status

from .http2 import Connection as Engine
from .http2 import ErrorCode, Http2Error
from .reading import READ_SIZE, Reading

if TYPE_CHECKING:
    from trioraft.rpc.limits import Limits

    from .call import Call

__all__ = ["Running"]

log = logging.getLogger(__name__)

_LINGER = 1.0
_LINGER_READS = 64


class Running(Reading):
    """A connection apart from what becomes of its events, which `Connection` adds."""

    def __init__(self, stream: trio.abc.Stream, engine: Engine, limits: Limits, name: str) -> None:
        super().__init__(stream, engine, limits, name)
        #: Why the connection ended, once it has.
        self.end_reason: str = ""
        #: Why we end the connection ourselves, if we do.
        self.end_cause = ""
        #: GOAWAY is queued that says all that there is to say.
        self.said_goodbye = False
        #: Whether the peer gets a moment to close first, so that it reads all that was sent.
        self.lingers = False
        #: Calls whose stream is open.
        self.calls: dict[int, Call[Any, Any]] = {}
        self._stream = stream
        self._goodbye = int(ErrorCode.NO_ERROR)  # the code that our GOAWAY will say
        self._handshake = trio.CancelScope()
        notice_silence(stream, limits.silence_timeout)

    async def run(self, timeout: float) -> None:
        """Run until either side ends the connection. Closes the stream.

        Args:
            timeout: Seconds for the peer's first SETTINGS frame.

        Cancelling sends GOAWAY if the network takes it within `Limits.close_timeout`.
        """
        reason = "the connection was closed"
        self._handshake.deadline = trio.current_time() + timeout
        try:
            async with trio.open_nursery() as nursery:
                self._started(nursery)
                nursery.start_soon(self._write_loop, nursery.cancel_scope)
                with self._handshake:
                    reason = await self._read_loop()
                if self._handshake.cancelled_caught:
                    reason = f"no HTTP/2 from the peer within {timeout:g} s"
                    log.warning("%s: %s", self.name, reason)
                nursery.cancel_scope.cancel()
        finally:
            self._over = True
            self.end_reason = f"{self.name}: {self.end_cause or reason}"
            self._lost(GRPCError(Status.UNAVAILABLE, self.end_reason))
            await self._close()

    def _started(self, nursery: trio.Nursery) -> None:
        """The nursery for the connection's tasks is open."""

    # ---- the end -----------------------------------------------------------------------------

    def _lost(self, error: GRPCError) -> None:
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.connection_lost(error)

    async def _close(self) -> None:
        """Say goodbye if that is still possible, then close the stream."""
        farewell = b""
        if not self._sending:
            try:
                if not self.said_goodbye:
                    self.engine.terminate_connection(self._goodbye)
                farewell = self.engine.data_to_send(self._pipe.write_size)
            except Http2Error:
                farewell = b""  # the session has failed or said goodbye already
            farewell = self._early + farewell
        try:
            if farewell:
                with trio.move_on_after(self.limits.close_timeout, shield=True):
                    try:
                        await self._stream.send_all(farewell)
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        log.debug("%s: gone before GOAWAY", self.name)
            if self.lingers:
                await self._linger()
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _linger(self) -> None:
        """Let the peer close first. A socket that is closed with something unread in it is reset,
        and what the peer has not read yet is lost to it."""
        with trio.move_on_after(_LINGER):
            try:
                for _ in range(_LINGER_READS):
                    if not await self._pipe.receive(READ_SIZE):
                        return
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
