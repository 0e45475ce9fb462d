"""Keepalive of a channel: PING on silent connections, and their end when nothing comes back.

Paid for by the connections of channels that ask for it: without, nothing of this runs.
Source: gRPC proposal A8 (client-side keepalive).
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from trioraft.rpc.wire.http2 import Http2Error
from trioraft.rpc.wire.pipe import Pipe

if TYPE_CHECKING:
    from .connection import ClientConnection

__all__ = ["Keepalive", "Pace", "WatchedPipe", "keep_alive"]

log = logging.getLogger(__name__)

_PING = b"trioraft"  # any eight bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """When a silent connection is asked whether it lives, for `open_channel(keepalive=)`.

    Agree with those who run the server: one that permits no such PINGs closes the connection
    (gRPC servers allow one in five minutes unless told otherwise). Each time it says so
    ("too_many_pings") the channel doubles `time` for its further connections.

    Attributes:
        time: Seconds without anything received after which a PING is sent. Not below `floor`.
        timeout: Seconds for anything to arrive after the PING. Beyond it the connection is
            closed, and its calls end with UNAVAILABLE.
        without_calls: Whether connections without calls are asked, too.
        floor: The least `time` (gRPC's: 10 s). A shorter one is raised to it, with a warning.
    """

    time: float
    timeout: float = 20.0
    without_calls: bool = False
    floor: float = 10.0

    def __post_init__(self) -> None:
        if not (self.time > 0 and self.timeout > 0 and self.floor > 0):
            raise ValueError("time, timeout and floor of a keepalive must be positive")


class Pace:
    """The keepalive of one channel, with the time as it is by now."""

    def __init__(self, keepalive: Keepalive) -> None:
        self.time: float = max(keepalive.time, keepalive.floor)
        self.timeout: float = keepalive.timeout
        self.without_calls: bool = keepalive.without_calls
        if self.time > keepalive.time:
            log.warning("keepalive time %g s raised to %g s", keepalive.time, self.time)

    def slow_down(self, name: str) -> None:
        """A server has had too many PINGs: double the time, for connections made from now on."""
        self.time = min(2 * self.time, math.inf)
        log.warning("%s: too many pings; keepalive time is %g s now", name, self.time)


class WatchedPipe:
    """A pipe that knows when anything was received last."""

    def __init__(self, pipe: Pipe) -> None:
        self.last_read = trio.current_time()
        self._receive = pipe.receive
        self._heard: trio.Event | None = None
        self.receive_now = pipe.receive_now
        self.write_size = pipe.write_size
        self.immediate = pipe.immediate
        self.send_now = pipe.send_now
        self.send_all = pipe.send_all

    async def receive(self, size: int) -> bytes | bytearray:
        """As the pipe's own."""
        data = await self._receive(size)
        self.last_read = trio.current_time()
        if self._heard is not None:
            self._heard.set()
        return data

    async def hears(self, seconds: float) -> bool:
        """Whether anything is received within so many seconds."""
        heard = self._heard = trio.Event()
        with trio.move_on_after(seconds):
            await heard.wait()
        self._heard = None
        return heard.is_set()


async def keep_alive(connection: ClientConnection, pipe: WatchedPipe, pace: Pace) -> None:
    """Task of a connection: PING after each silence; end the connection if nothing answers.

    The time counts from the last byte received. A connection without calls is left in peace (unless
    `without_calls`); its next call after such a silence brings a PING with it.
    """
    time = pace.time
    while True:
        silence = trio.current_time() - pipe.last_read
        if silence < time:
            await trio.sleep(time - silence)
        elif not connection.calls and not pace.without_calls:
            await connection.next_call()
        else:
            try:
                connection.engine.ping(_PING)
            except Http2Error as error:
                log.debug("%s: no PING on a session that ends: %s", connection.name, error)
                return
            connection.keepalives_sent += 1
            connection.mark_dirty()
            if not await pipe.hears(pace.timeout):
                connection.stop(f"nothing received within {pace.timeout:g} s of a PING")
                return
