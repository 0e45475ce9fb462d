"""The life of one connection of a server: keepalive, idleness, age, and leaving in good order.

Nothing here runs per call or per message. What happens is seen by comparing counts that the
connection keeps anyway, when a timer is due or a PING has come.

Leaving takes two GOAWAY frames (RFC 9113 §6.8), as grpc-go does it. The first says "no more"
without refusing anything, and a PING follows it. Its answer proves that the client knows; every
request it had sent before is here by then. The second GOAWAY says which request was the last. When
the calls that are open have ended, so does the connection.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.http2 import ErrorCode

if TYPE_CHECKING:
    from trioraft.rpc.server.shared import Shared
    from trioraft.rpc.wire.http2 import PingAcknowledged

    from .managed import ManagedConnection

__all__ = ["Life"]

#: How long a client may take to answer the PING behind the first GOAWAY, in seconds.
NOTICE_TIMEOUT = 5.0
#: How far ages differ by chance, either way.
JITTER = 0.1
#: Looks per idle time or keepalive time: how late either may be noticed.
LOOKS = 4
#: Seconds between the pings of a client without calls, where those are not permitted.
WITHOUT_CALLS = 2 * 3600.0

#: The network, too, moves pings together: this much of the interval will do.
LENIENCY = 0.99

_NOTICE = b"leaving\0"
_KEEPALIVE = b"alive?\0\0"


class Life:
    """One connection's; a `Timed`."""

    __slots__ = (
        "_ack_by", "_age_at", "_connection", "_cut_at", "_idle_since", "_last_ping", "_look_at",
        "_ping_by", "_quiet_since", "_seen", "_sent", "_shared", "_started", "_strikes", "_why",
        "leaving",
    )  # fmt: skip

    def __init__(self, connection: ManagedConnection, shared: Shared) -> None:
        self._connection = connection
        self._shared = shared
        now = trio.current_time()
        age = shared.lifetime.max_age
        if age != inf:
            age *= shared.rng.uniform(1 - JITTER, 1 + JITTER)
        #: Whether the connection is on its way out.
        self.leaving: bool = False
        self._why = ""
        self._age_at = now + age
        self._cut_at = inf  # when the calls that are still open end
        self._ack_by = inf  # when the answer to the PING behind the first GOAWAY is given up
        self._ping_by = inf  # when a keepalive ping must have its answer
        self._look_at = now + self._interval()
        self._quiet_since = self._idle_since = now
        self._seen = (-1, 0, 0, 0)  # what would change if something came from the peer
        self._started = 0  # calls
        self._last_ping = -inf
        self._sent = (-1, 0, 0)  # what would change if a call sent something
        self._strikes = 0

    def begin(self) -> None:
        """The connection's tasks run."""
        self._shared.timers.watch(self, self._next())

    def end(self) -> None:
        """The connection is over."""
        self._shared.timers.forget(self)

    # ---- leaving -----------------------------------------------------------------------------

    def leave(self, why: str, cut_at: float) -> None:
        """Let the calls that are open end by themselves, until `cut_at`, and take no more.

        Again, it may make `cut_at` earlier. Never waits.
        """
        self._cut_at = min(self._cut_at, cut_at)
        if not self.leaving:
            self.leaving = True
            self._why = why
            if self._connection.greeted:
                self._notify()
        self._shared.timers.watch(self, self._next())

    def greeted(self) -> None:
        """The client has sent its first SETTINGS."""
        if self.leaving:
            self._notify()
            self._shared.timers.watch(self, self._next())

    def _notify(self) -> None:
        self._ack_by = trio.current_time() + NOTICE_TIMEOUT
        self._connection.announce_end(_NOTICE)

    def _take_no_more(self) -> None:
        self._ack_by = inf
        self._connection.say_goodbye()

    def _cut(self) -> None:
        connection = self._connection
        error = GRPCError(Status.UNAVAILABLE, f"the server ends the call: {self._why}")
        for call in list(connection.calls.values()):
            connection.end_call(call, error)
        connection.dismiss(self._why)

    # ---- timers ------------------------------------------------------------------------------

    def _interval(self) -> float:
        return min(self._shared.keepalive.time, self._shared.lifetime.max_idle) / LOOKS

    def _next(self) -> float:
        age_at = inf if self.leaving else self._age_at
        return min(age_at, self._cut_at, self._ack_by, self._ping_by, self._look_at)

    def due(self, now: float) -> float:
        """See `Timed`."""
        lifetime = self._shared.lifetime
        if now >= self._cut_at:
            self._cut()
            return inf
        if now >= self._ack_by:
            self._take_no_more()
        if now >= self._age_at and not self.leaving:
            self.leave("the connection has reached its maximum age", now + lifetime.max_age_grace)
        if now >= self._look_at:
            self._look_at = now + self._interval()
            self._look_for_calls(now)
        if not self._look_for_life(now):
            return inf
        return self._next()

    def _look_for_calls(self, now: float) -> None:
        connection, lifetime = self._connection, self._shared.lifetime
        if connection.calls or connection.calls_started != self._started:
            self._started = connection.calls_started
            self._idle_since = now
        elif now - self._idle_since >= lifetime.max_idle and not self.leaving:
            self.leave("the connection was idle", now + lifetime.max_age_grace)

    def _look_for_life(self, now: float) -> bool:
        """Ping a peer that is silent; False if it has not answered and the connection ends."""
        connection, keepalive = self._connection, self._shared.keepalive
        seen = connection.signs_of_life()
        if seen != self._seen:
            self._seen = seen
            self._quiet_since = now
            self._ping_by = inf
        elif now >= self._ping_by:
            connection.dismiss(f"no answer to a keepalive ping within {keepalive.timeout:g} s")
            return False
        elif self._ping_by == inf and now - self._quiet_since >= keepalive.time:
            self._ping_by = now + keepalive.timeout
            connection.ping(_KEEPALIVE)
            connection.keepalives_sent += 1
        return True

    # ---- pings -------------------------------------------------------------------------------

    def ping_acknowledged(self, event: PingAcknowledged) -> None:
        """The client has answered one of our pings."""
        self._quiet_since = trio.current_time()
        self._ping_by = inf
        if event.opaque_data == _NOTICE and self._ack_by != inf:
            self._take_no_more()

    def ping_received(self) -> None:
        """The client has pinged: too often?"""
        connection, keepalive = self._connection, self._shared.keepalive
        now = trio.current_time()
        last, self._last_ping = self._last_ping, now
        sent = connection.signs_of_sending()
        if sent != self._sent:
            # Clients measure their bandwidth by a PING when data comes: that is no strike.
            self._sent = sent
            self._strikes = 0
            return
        permitted = connection.calls or keepalive.permit_without_calls
        wanted = keepalive.min_interval if permitted else WITHOUT_CALLS
        if now - last < LENIENCY * wanted:
            self._strikes += 1
            if self._strikes > keepalive.max_strikes:
                connection.dismiss("too many pings", ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
