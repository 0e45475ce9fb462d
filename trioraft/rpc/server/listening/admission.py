"""How many connections a server takes, in all and from one address."""

from __future__ import annotations

import logging

import trio

from trioraft.rpc.limits import Limits
from trioraft.rpc.peer import Peer

__all__ = ["Admission", "Place"]

log = logging.getLogger(__name__)


class Place:
    """One connection that is counted; with the host it comes from, if that is counted, too."""

    __slots__ = ("host",)

    def __init__(self, host: str | None) -> None:
        self.host: str | None = host


class Admission:
    """Counts the connections of one server, those in their handshake included."""

    def __init__(self, limits: Limits) -> None:
        self._max = limits.max_connections
        self._max_per_peer = limits.max_connections_per_peer
        #: Connections that are open.
        self.count: int = 0
        self._by_host: dict[str, int] = {}
        self._empty = trio.lowlevel.ParkingLot()
        self._refusing = False

    def admit(self, stream: trio.abc.Stream) -> Place | None:
        """Count one more; None if it is one too many. The first of them is logged."""
        host = None
        refusal = ""
        if self.count >= self._max:
            refusal = f"{self.count} are open"
        elif self._max_per_peer is not None:
            host = _host_of(stream)
            if host is not None and self._by_host.get(host, 0) >= self._max_per_peer:
                refusal = f"{host} has {self._max_per_peer} open"
        if refusal:
            if not self._refusing:
                log.warning("refusing connections: %s", refusal)
            self._refusing = True
            return None
        self._refusing = False
        self.count += 1
        if host is not None:
            self._by_host[host] = self._by_host.get(host, 0) + 1
        return Place(host)

    def leave(self, place: Place) -> None:
        """A connection is closed."""
        self.count -= 1
        if place.host is not None:
            left = self._by_host[place.host] - 1
            if left:
                self._by_host[place.host] = left
            else:
                del self._by_host[place.host]
        if not self.count:
            self._empty.unpark_all()

    async def wait_empty(self) -> None:
        """Wait until no connection is open."""
        while self.count:
            await self._empty.park()


def _host_of(stream: trio.abc.Stream) -> str | None:
    """The peer's IP address; None for Unix sockets and what is no socket."""
    address = Peer(stream).addr()
    return str(address[0]) if isinstance(address, tuple) else None
