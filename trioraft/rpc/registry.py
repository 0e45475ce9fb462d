"""A register of what is open: channels, servers and their connections, for channelz to show.

Handed to `serve(registry=)` and `open_channel(registry=)`; without one nothing is kept. What is in
it are the objects themselves: their counts are read when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .client.connections.connectivity import ConnectivityState

if TYPE_CHECKING:
    from .client.connections.connector import Connector
    from .wire.connection import Connection

__all__ = ["ChannelEntry", "Entry", "Registry", "Totals", "registered"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Calls of an endpoint, on all its connections that are or were."""

    started: int = 0
    failed: int = 0
    running: int = 0

    @property
    def succeeded(self) -> int:
        """Those that ended with OK."""
        return self.started - self.failed - self.running


class Entry:
    """A server or a channel, with its connections by id."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry = registry
        self.id = registry.new_id()
        self.name = name
        self.connections: dict[int, Connection] = {}
        self._started = self._failed = 0  # on connections that have ended

    def add(self, connection: Connection) -> int:
        """A connection is open; returns its id."""
        number = self._registry.new_id()
        self.connections[number] = connection
        return number

    def remove(self, number: int) -> None:
        """The connection has ended, and every call on it."""
        connection = self.connections.pop(number)
        self._started += connection.calls_started
        self._failed += connection.calls_failed

    def totals(self) -> Totals:
        """The calls so far."""
        started, failed, running = self._started, self._failed, 0
        for connection in self.connections.values():
            started += connection.calls_started
            failed += connection.calls_failed
            running += len(connection.calls)
        return Totals(started, failed, running)


@contextmanager
def registered(entry: Entry | None, connection: Connection) -> Iterator[None]:
    """The connection is in the register, if there is one, for as long as the block."""
    if entry is None:
        yield
        return
    number = entry.add(connection)
    try:
        yield
    finally:
        entry.remove(number)


class ChannelEntry(Entry):
    """A channel. Its calls that found no connection have failed without one."""

    def __init__(self, registry: Registry, target: str, connector: Connector) -> None:
        super().__init__(registry, target)
        self._connector = connector

    @property
    def state(self) -> ConnectivityState:
        """Connectivity, in gRPC's words."""
        return self._connector.state

    def refused(self) -> None:
        """A call has failed before it had a stream."""
        self._started += 1
        self._failed += 1


class Registry:
    """What is open, by ids that are never used twice. For one Trio run.

    Bounded by what it shows: an entry goes when its channel, server or connection ends.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self.servers: dict[int, Entry] = {}
        self.channels: dict[int, ChannelEntry] = {}

    def new_id(self) -> int:
        """The next id."""
        self._last_id += 1
        return self._last_id

    def add_server(self, name: str) -> Entry:
        """A server is open, until `remove_server`."""
        entry = Entry(self, name)
        self.servers[entry.id] = entry
        return entry

    def remove_server(self, entry: Entry) -> None:
        """The server has ended."""
        del self.servers[entry.id]

    def add_channel(self, target: str, connector: Connector) -> ChannelEntry:
        """A channel is open, until `remove_channel`."""
        entry = ChannelEntry(self, target, connector)
        self.channels[entry.id] = entry
        return entry

    def remove_channel(self, entry: ChannelEntry) -> None:
        """The channel has been closed."""
        del self.channels[entry.id]

    def connection(self, number: int) -> Connection | None:
        """A connection of any channel or server; None if there is none."""
        for entry in self._entries():
            if (found := entry.connections.get(number)) is not None:
                return found
        return None

    def _entries(self) -> Iterator[Entry]:
        yield from self.servers.values()
        yield from self.channels.values()
