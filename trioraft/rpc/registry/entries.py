"""What is open, as channelz divides it: servers, channels, subchannels, and the sockets of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.connections.connectivity import ConnectivityState

from .timed import Timed
from .trace import Severity, Trace

if TYPE_CHECKING:
    from trioraft.rpc.wire.connection import Connection

    from .register import Registry

__all__ = [
    "ChannelEntry",
    "ListenSocket",
    "ServerEntry",
    "SubchannelEntry",
    "Totals",
    "registered",
]

_FAILING = ConnectivityState.TRANSIENT_FAILURE


@dataclass(frozen=True, slots=True)
class Totals:
    """Calls of an entry, on all its connections that are or were.

    Attributes:
        last: When the last one began, Trio's time; None: there was none.
    """

    started: int = 0
    failed: int = 0
    running: int = 0
    last: float | None = None

    @property
    def succeeded(self) -> int:
        """Those that ended with OK."""
        return self.started - self.failed - self.running

    def plus(self, other: Totals) -> Totals:
        """Both together."""
        return Totals(
            self.started + other.started,
            self.failed + other.failed,
            self.running + other.running,
            _later(self.last, other.last),
        )


def _later(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _totals_of(connection: Connection) -> Totals:
    last = connection.called_at if isinstance(connection, Timed) else None
    running = len(connection.calls)
    return Totals(connection.calls_started, connection.calls_failed, running, last)


class _Entry:
    """What has an id, a name and a history."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self.id: int = registry.new_id()
        self.name = name
        self.trace: Trace = Trace()
        self._past = Totals()  # of what has ended


class _Carrier(_Entry):
    """A server or a subchannel: what has connections, here by id."""

    def __init__(self, registry: Registry, name: str) -> None:
        super().__init__(registry, name)
        self.connections: dict[int, Connection] = {}

    def add(self, connection: Connection) -> int:
        """A connection is open; returns its id."""
        number = self._registry.new_id()
        self.connections[number] = self._registry.sockets[number] = connection
        return number

    def remove(self, number: int) -> None:
        """The connection has ended, and every call on it."""
        del self._registry.sockets[number]
        self._past = self._past.plus(_totals_of(self.connections.pop(number)))

    def totals(self) -> Totals:
        """The calls so far."""
        totals = self._past
        for connection in self.connections.values():
            totals = totals.plus(_totals_of(connection))
        return totals


@contextmanager
def registered(entry: _Carrier | None, connection: Connection) -> Iterator[None]:
    """The connection is in the register, if there is one, for as long as the block."""
    if entry is None:
        yield
        return
    number = entry.add(connection)
    try:
        yield
    finally:
        entry.remove(number)


@dataclass(frozen=True, slots=True)
class ListenSocket:
    """What a server accepts connections at: an address as the socket module gives it, and as text;
    for a listener that is no socket, the listener."""

    address: Any
    name: str


class ServerEntry(_Carrier):
    """A server."""

    def __init__(self, registry: Registry, name: str, listeners: list[ListenSocket]) -> None:
        super().__init__(registry, name)
        #: By id, until they are closed.
        self.listeners: dict[int, ListenSocket] = {
            registry.new_id(): listener for listener in listeners
        }
        registry.sockets.update(self.listeners)

    def stopping(self) -> None:
        """It has closed its listeners. Connections may go on."""
        listeners, self.listeners = self.listeners, {}
        for number in listeners:
            del self._registry.sockets[number]
        if listeners:
            self.trace.add("accepts no more connections")


class SubchannelEntry(_Carrier):
    """One address of a channel. It goes when it is closed and its last connection has ended."""

    def __init__(self, registry: Registry, name: str, channel: ChannelEntry) -> None:
        super().__init__(registry, name)
        self._channel = channel
        #: SHUTDOWN once it takes no more calls.
        self.state: ConnectivityState = ConnectivityState.IDLE

    def enter(self, state: ConnectivityState) -> None:
        """Another state, or the same one."""
        if state is not self.state:
            self.state = state
            self.trace.add(f"state: {state}")

    def failed(self, reason: str) -> None:
        """No connection could be made, or it was refused at once."""
        self.trace.add(reason, Severity.WARNING)

    def close(self) -> None:
        """It takes no more calls. Connections may go on until their calls have ended."""
        self.enter(ConnectivityState.SHUTDOWN)
        self._leave()

    def remove(self, number: int) -> None:
        """As for every entry. The trace says why it has ended."""
        reason = self.connections[number].end_reason
        super().remove(number)
        self.trace.add(f"connection {number} ended: {reason}")
        if self.state is ConnectivityState.SHUTDOWN:
            self._leave()

    def _leave(self) -> None:
        if not self.connections:
            self._channel.remove(self)


class ChannelEntry(_Entry):
    """A channel. Its calls that found no connection have failed without one."""

    def __init__(self, registry: Registry, target: str, max_connections: int) -> None:
        """max_connections: of each subchannel."""
        super().__init__(registry, target)
        self.max_connections = max_connections
        #: Connectivity, in gRPC's words.
        self.state: ConnectivityState = ConnectivityState.IDLE
        self.subchannels: dict[int, SubchannelEntry] = {}
        self._repeated = 0  # streams that were not the first of their call
        self._addresses = ""

    def add_subchannel(self, name: str) -> SubchannelEntry:
        """One more address, until the entry's `close`."""
        entry = SubchannelEntry(self._registry, name, self)
        self.subchannels[entry.id] = self._registry.subchannels[entry.id] = entry
        self.trace.add(f"subchannel for {name}", subchannel=(entry.id, name))
        return entry

    def remove(self, entry: SubchannelEntry) -> None:
        """A subchannel has ended, and every call on it. Once more changes nothing."""
        if self.subchannels.pop(entry.id, None) is not None:
            del self._registry.subchannels[entry.id]
            self._past = self._past.plus(entry.totals())
            self.trace.add(f"no more {entry.name}", subchannel=(entry.id, entry.name))

    def enter(self, state: ConnectivityState, error: Exception | None) -> None:
        """Another state, and why if it is a failure."""
        self.state = state
        if state is _FAILING and error is not None:
            self.trace.add(f"state: {state}: {error}", Severity.WARNING)
        else:
            self.trace.add(f"state: {state}")

    def resolved(self, addresses: str) -> None:
        """What the resolver has found; of interest if it is something else than last time."""
        if addresses != self._addresses:
            self._addresses = addresses
            self.trace.add(f"resolved: {addresses or 'no address'}")

    def problem(self, description: str) -> None:
        """The resolver has failed, what it has found is refused, or servers lack a service."""
        self.trace.add(description, Severity.WARNING)

    def refused(self) -> None:
        """A call has failed before it had a stream."""
        self._past = self._past.plus(Totals(1, 1, 0, trio.current_time()))

    def repeated(self) -> None:
        """A call has one more stream, by retry or hedging: subchannels count all of them, the
        channel counts the call."""
        self._repeated += 1

    def totals(self) -> Totals:
        """The calls so far. Of the streams of one call, all but one fail in the end."""
        totals = self._past
        for entry in self.subchannels.values():
            totals = totals.plus(entry.totals())
        over = min(self._repeated, totals.failed)
        return Totals(
            totals.started - self._repeated,
            totals.failed - over,
            totals.running - (self._repeated - over),
            totals.last,
        )
