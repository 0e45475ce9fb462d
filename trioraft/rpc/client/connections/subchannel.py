"""One address of a channel: its connections, the attempts to make them, the pauses in between."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import trio

from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import ChannelEntry, registered
from trioraft.rpc.status import GRPCError, Status

from .backoff import Backoff
from .connection import ClientConnection, TimedClientConnection
from .connectivity import ConnectivityState
from .dialling import DialAddress
from .keepalive import Pace

if TYPE_CHECKING:
    from .checked import CheckedSubchannel
    from .health import HealthChecks

__all__ = ["Shared", "Subchannel"]

log = logging.getLogger(__name__)

_IDLE = ConnectivityState.IDLE
_CONNECTING = ConnectivityState.CONNECTING
_READY = ConnectivityState.READY
_FAILING = ConnectivityState.TRANSIENT_FAILURE


@dataclass(slots=True)
class Shared:
    """What the subchannels of a channel have in common.

    Attributes:
        name: Of the server, for messages.
        waiting: Calls that cannot start yet: for a stream, or for a connection.
        live: Every connection that has not ended, those that only drain included.
        nursery: Of the channel, while it is open.
        entry: Of the channel in a register, if it is in one.
        health: What is asked of servers, if anything is.
        checked: The subchannels that ask it.
    """

    name: str
    dial: DialAddress
    limits: Limits
    rng: random.Random
    pace: Pace | None
    waiting: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    live: list[ClientConnection] = field(default_factory=list)
    nursery: trio.Nursery | None = None
    entry: ChannelEntry | None = None
    health: HealthChecks | None = None
    checked: dict[CheckedSubchannel, None] = field(default_factory=dict)


class Subchannel:
    """One address. States as those of a channel, without SHUTDOWN; TRANSIENT_FAILURE is a pause."""

    def __init__(
        self, shared: Shared, address: Address, name: str, changed: Callable[[Subchannel], None]
    ) -> None:
        """changed: called after each change that `connect` has not made. It must not wait."""
        self.address = address
        self.state: ConnectivityState = _IDLE
        #: Those that take calls, oldest first.
        self.connections: list[ClientConnection] = []
        #: Why the last attempt has failed.
        self.error: GRPCError | None = None
        self._due = 0.0  # when the next attempt may begin
        self._shared = shared
        self._name = name
        self._changed = changed
        limits = shared.limits
        self._backoff = Backoff(limits.reconnect_min, limits.reconnect_max, shared.rng)
        self._effort: trio.CancelScope | None = None  # around an attempt, or the pause after it
        self._pausing = False
        self._proven = False  # since a connection was made last, calls have started
        self._closed = False
        channel = shared.entry
        self._entry = None if channel is None else channel.add_subchannel(str(address))

    # ---- for the balancer --------------------------------------------------------------------

    @property
    def retry_at(self) -> float:
        """When the pause after a failed attempt ends; not in the future if there is none."""
        return self._due

    def connect(self) -> None:
        """Leave IDLE: begin an attempt. Nothing in another state."""
        if self.state is _IDLE and not self._closed:
            self._enter(_CONNECTING)
            self._begin()

    def grow(self) -> None:
        """Every stream is taken: begin one more connection, if there may be one.

        At most `Limits.max_connections_per_address` (gRPC proposal A105).
        """
        allowed = self._shared.limits.max_connections_per_address
        if self._effort is None and self.connections and self._count() < allowed:
            if not self._proven and any(item.uses for item in self.connections):
                self._proven = True
                self._backoff.reset()
            self._begin()

    def close(self) -> None:
        """Make no more connections, and drain those there are. Calls that run go on."""
        self._closed = True
        if self._effort is not None:
            self._effort.cancel()
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.drain("the channel uses this connection no more")
        if self._entry is not None:
            self._entry.close()

    def _count(self) -> int:
        """The connections that there are."""
        return len(self.connections)

    def _resting(self) -> ConnectivityState:
        """The state while no connection takes calls."""
        if self._pausing:
            return _FAILING
        return _IDLE if self._effort is None else _CONNECTING

    def _enter(self, state: ConnectivityState) -> None:
        self.state = state
        if self._entry is not None:
            self._entry.enter(state)

    # ---- attempts ----------------------------------------------------------------------------

    def _begin(self) -> None:
        scope = self._effort = trio.CancelScope()
        self._start(partial(self._attempt, scope))

    def _start(self, task: Callable[[], object]) -> None:
        assert self._shared.nursery is not None
        self._shared.nursery.start_soon(task)  # type: ignore[arg-type]

    async def _attempt(self, scope: trio.CancelScope) -> None:
        """Task: make one connection, run it until it ends. `scope` ends it before it is ready."""
        shared = self._shared
        now = trio.current_time()
        self._due = self._backoff.begin(now)
        limit = max(shared.limits.connect_timeout, self._due - now)
        connection: ClientConnection | None = None
        try:
            with scope:
                stream = await self._open_within(limit)
                spent = trio.current_time() - now
                kind = ClientConnection if self._entry is None else TimedClientConnection
                connection = kind(
                    stream, shared.limits, self._name, self, shared.waiting, shared.pace
                )
                shared.live.append(connection)
                with registered(self._entry, connection):
                    await connection.run(max(0.0, limit - spent))
                if self._effort is scope:  # it has ended before it was ready
                    self._fail(GRPCError(Status.UNAVAILABLE, connection.end_reason))
        except GRPCError as error:
            self._fail(error)
        except Exception:
            # Whatever this server made us stumble over must not end the application.
            log.exception("%s: the connection failed", self._name)
            if self._effort is scope:
                self._fail(GRPCError(Status.UNAVAILABLE, f"{self._name}: internal error"))
        finally:
            if connection is not None:
                shared.live.remove(connection)

    async def _open_within(self, seconds: float) -> trio.abc.Stream:
        try:
            with trio.fail_after(seconds):
                return await self._shared.dial(self.address)
        except trio.TooSlowError:
            reason = f"cannot connect within {seconds:g} s"
        except Exception as error:
            # `dial` is the application's: any failure of it is a failure to connect.
            reason = f"cannot connect: {error}"
        raise GRPCError(Status.UNAVAILABLE, f"{self._name}: {reason}")

    # ---- for the connections -----------------------------------------------------------------

    def connected(self, connection: ClientConnection) -> None:
        """One more connection takes calls."""
        if self._closed:
            connection.drain("the channel has found another address")
            return
        self._settled()
        self.connections.append(connection)
        self._enter(_READY)
        self._changed(self)

    def _settled(self) -> None:
        """The attempt has made a connection: only that, or the whole channel, ends its task now."""
        self._effort = None
        self._proven = False

    def retired(self, connection: ClientConnection, reason: str) -> None:
        """A connection takes no more calls.

        A server that turns everybody away at once is no better than none: the pause after the
        attempt is kept, and the next is longer. Otherwise the pauses start anew.
        """
        if self._closed:
            return
        if connection in self.connections:
            self.connections.remove(connection)
        rude = not connection.uses and trio.current_time() < self._due
        if rude and self._effort is None:
            self._fail(GRPCError(Status.UNAVAILABLE, f"{reason} (at once after it was made)"))
            return
        if not rude:
            self._backoff.reset()
        if not self.connections:
            # A further connection may be on its way, or its attempt have failed just now.
            self._enter(self._resting())
        self._changed(self)

    # ---- failure -----------------------------------------------------------------------------

    def _fail(self, error: GRPCError) -> None:
        """An attempt has come to nothing: pause, which concerns nobody while others take calls."""
        if self._closed:
            return
        self.error = error
        if self._entry is not None:
            self._entry.failed(error.message or error.status.name)
        log.info("%s; next attempt in %.2f s", error.message, self._due - trio.current_time())
        scope = self._effort = trio.CancelScope()
        self._pausing = True
        if not self.connections:
            self._enter(self._resting())
        self._start(partial(self._pause, scope))
        self._changed(self)

    async def _pause(self, scope: trio.CancelScope) -> None:
        """Task: until the next attempt may begin."""
        with scope:
            await trio.sleep_until(self._due)
            if self._closed:
                return
            self._effort, self._pausing = None, False
            if not self.connections:
                self._enter(self._resting())
            self._changed(self)
