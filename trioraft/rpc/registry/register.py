"""The register: every entry by its id."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from .entries import ChannelEntry, ListenSocket, ServerEntry, SubchannelEntry

if TYPE_CHECKING:
    from trioraft.rpc.wire.connection import Connection

__all__ = ["Registry"]


class Registry:
    """What is open, by ids that are never used twice. For one Trio run.

    Bounded by what it shows: an entry goes when its channel, server or connection ends, and keeps
    at most 20 events until then.
    """

    def __init__(self, *, wall_clock: Callable[[], float] = time.time) -> None:
        """wall_clock: seconds since 1970, for the times that are shown; never to wait by."""
        self._last_id = 0
        self._wall_clock = wall_clock
        self.servers: dict[int, ServerEntry] = {}
        self.channels: dict[int, ChannelEntry] = {}
        #: Those of all channels.
        self.subchannels: dict[int, SubchannelEntry] = {}
        #: Those of all servers and subchannels.
        self.sockets: dict[int, Connection | ListenSocket] = {}

    def new_id(self) -> int:
        """The next id."""
        self._last_id += 1
        return self._last_id

    def wall_time(self, at: float) -> float:
        """A time of Trio's as seconds since 1970, by the wall clock as it is now."""
        return self._wall_clock() - (trio.current_time() - at)

    def add_server(self, name: str, listeners: Sequence[ListenSocket] = ()) -> ServerEntry:
        """A server is open, until `remove_server`."""
        entry = ServerEntry(self, name, list(listeners))
        self.servers[entry.id] = entry
        return entry

    def remove_server(self, entry: ServerEntry) -> None:
        """The server has ended."""
        entry.stopping()
        del self.servers[entry.id]

    def add_channel(self, target: str, max_connections: int) -> ChannelEntry:
        """A channel is open, until `remove_channel`; `max_connections` are those per subchannel."""
        entry = ChannelEntry(self, target, max_connections)
        self.channels[entry.id] = entry
        return entry

    def remove_channel(self, entry: ChannelEntry) -> None:
        """The channel has been closed, and all that belongs to it."""
        del self.channels[entry.id]
