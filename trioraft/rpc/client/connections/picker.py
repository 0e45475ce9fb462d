"""A connection for each call: the one there is, or the next in turn, or a wait for one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import trio

from trioraft.rpc.status import GRPCError, Status

from .connection import ClientConnection
from .connectivity import Connectivity, ConnectivityState
from .subchannel import Shared, Subchannel

__all__ = ["Picker"]

_IDLE = ConnectivityState.IDLE
_READY = ConnectivityState.READY
_FAILING = ConnectivityState.TRANSIENT_FAILURE
_SHUTDOWN = ConnectivityState.SHUTDOWN


class Picker(ABC):
    """The calls' side of a channel's `Connector`. Internal."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._waiting = shared.waiting
        self.connectivity: Connectivity = Connectivity()
        #: The connection that new calls use, if there is only one to choose.
        self.current: ClientConnection | None = None
        self._turns: tuple[ClientConnection, ...] = ()  # else one of each subchannel, in turn
        self._turn = 0
        self._order: Callable[[], int] | None = None  # the balancer's, if not in turn
        self._choose: Callable[[], ClientConnection | None] = self._in_turn
        self._spare: tuple[ClientConnection, ...] = ()  # the further ones of the subchannels
        self._ready: tuple[Subchannel, ...] = ()
        self._error: GRPCError | None = None
        self._retry_at = 0.0
        self._asked = 0  # calls that did not find a connection at once

    @abstractmethod
    def leave_idle(self) -> None:
        """Begin to connect, if the channel is IDLE. Never waits."""

    @property
    def state(self) -> ConnectivityState:
        """Connectivity, in gRPC's words (connectivity-semantics-and-api.md)."""
        return self.connectivity.state

    @property
    def ready(self) -> ClientConnection | None:
        """A connection that a call can start on right now. What every call asks first."""
        current = self.current
        if current is not None and current.has_slot:
            return current
        if self._turns:
            return self._choose()
        return None

    def _in_turn(self) -> ClientConnection | None:
        turns = self._turns
        turn = self._turn
        for _ in turns:
            turn += 1
            if turn >= len(turns):
                turn = 0
            connection = turns[turn]
            if connection.has_slot:
                self._turn = turn
                return connection
        return None

    def _in_order(self) -> ClientConnection | None:
        """As the balancer says; a connection that is full loses its turn to the next."""
        turns, order = self._turns, self._order
        assert order is not None
        for _ in turns:
            connection = turns[order()]
            if connection.has_slot:
                return connection
        return self._in_turn()

    async def get(self, wait_for_ready: bool) -> ClientConnection:
        """Wait for a connection with a free stream. Cancelling it concerns no other call.

        Raises:
            GRPCError: UNAVAILABLE: the channel is in TRANSIENT_FAILURE, unless waiting for ready,
                or closed. RESOURCE_EXHAUSTED: `Limits.max_waiting_calls` are waiting already.
        """
        self._asked += 1
        waited = False
        while True:
            connection = self._find(waited)
            if connection is not None:
                return connection
            state = self.connectivity.state
            if state is _IDLE:
                self.leave_idle()
            elif state is _READY:
                self._grow()
            elif state is _SHUTDOWN:
                raise GRPCError(Status.UNAVAILABLE, "the channel was closed")
            elif state is _FAILING and not wait_for_ready:
                raise self._failure()
            if len(self._waiting) >= self._shared.limits.max_waiting_calls:
                raise GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"{self._shared.name}: {len(self._waiting)} calls wait already",
                )
            await self._waiting.park()
            waited = True

    def _find(self, waited: bool) -> ClientConnection | None:
        if self._waiting and not waited:
            return None  # others came first
        chosen = self.ready
        if chosen is not None:
            return chosen
        return next((item for item in self._in_use() if item.has_room), None)

    def pass_on(self) -> None:
        """A call has no use for the connection that it waited for: let the next one have it."""
        self._waiting.unpark()

    def _failure(self) -> GRPCError:
        assert self._error is not None
        message = self._error.message
        pause = self._retry_at - trio.current_time()
        if pause > 0:
            message = f"{message} (next attempt in {pause:.1f} s)"
        return GRPCError(self._error.status, message)

    def publish(
        self,
        state: ConnectivityState,
        ready: Sequence[Subchannel] = (),
        error: GRPCError | None = None,
        retry_at: float = 0.0,
        order: Callable[[], int] | None = None,
    ) -> None:
        """What calls find from now on. Those that wait look again if that may be of use."""
        firsts = tuple(subchannel.connections[0] for subchannel in ready)
        self.current = firsts[0] if len(firsts) == 1 else None
        if len(firsts) > 1 and firsts != self._turns:
            # Not all clients begin with the same one, nor go on with the one after it.
            self._turn = self._shared.rng.randrange(len(firsts))
        self._turns = firsts if len(firsts) > 1 else ()
        self._order = order
        self._choose = self._in_turn if order is None else self._in_order
        self._spare = tuple(
            connection for subchannel in ready for connection in subchannel.connections[1:]
        )
        self._ready = tuple(ready)
        self._error, self._retry_at = error, retry_at
        if state is not self.connectivity.state:
            if self._shared.entry is not None:
                self._shared.entry.enter(state, error)
            self.connectivity.set(state)
            self._waiting.unpark_all()
        elif self._waiting:
            self._wake(self._in_use())

    def _wake(self, connections: tuple[ClientConnection, ...]) -> None:
        """The state is what it was: as many of those that wait as there is room for look again."""
        room = sum(item.max_streams - len(item.calls) for item in connections if item.has_room)
        if room:
            self._waiting.unpark(count=room)
        if self._waiting and self._ready:
            self._grow()  # no call that comes would ask for it: those that wait have asked

    def _grow(self) -> None:
        """Every stream is taken: one more connection to where there are fewest, if it may be."""
        min(self._ready, key=lambda item: len(item.connections)).grow()

    def _in_use(self) -> tuple[ClientConnection, ...]:
        first = () if self.current is None else (self.current,)
        return (*first, *self._turns, *self._spare)
