"""One address of weighted_round_robin: its weight, and what is listened to for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import trio

from trioraft.rpc.client.connections.subchannel import Subchannel

from .policy import Hub
from .reports import LoadTrailers, LoadWatch
from .weights import Weight

if TYPE_CHECKING:
    from trioraft.rpc.client.connections.connection import ClientConnection
    from trioraft.rpc.orca import LoadReport

    from .weighted import WeightedRoundRobin

__all__ = ["Backend"]


class Backend:
    """What is known of one address. Not imported before it is needed: it loads messages."""

    def __init__(self, hub: Hub, policy: WeightedRoundRobin) -> None:
        self._hub = hub
        self._policy = policy
        self._connections: tuple[ClientConnection, ...] = ()
        self._watched: ClientConnection | None = None  # that has the stream of reports
        self._end_watch: Callable[[], None] | None = None
        self._reports = LoadTrailers()
        self.weight: Weight = Weight(policy)

    def follow(self, policy: WeightedRoundRobin) -> None:
        """Have other settings from now on."""
        before, self._policy = self._policy, policy
        self.weight.follow(policy)
        if (before.enable_oob_load_report, before.oob_reporting_period) != (
            policy.enable_oob_load_report,
            policy.oob_reporting_period,
        ):
            self.end()
            for connection in self._connections:
                connection.watch_trailers(None)
            self._listen(self._connections)

    def changed(self, subchannel: Subchannel) -> None:
        """It has other connections."""
        before, self._connections = self._connections, tuple(subchannel.connections)
        if self._connections and not before:
            self.weight.connected()
        self._listen([item for item in self._connections if item not in before])

    def end(self) -> None:
        """Listen no more to the stream of reports. Never waits."""
        if self._end_watch is not None:
            self._end_watch()
        self._end_watch = self._watched = None

    def _listen(self, added: Collection[ClientConnection]) -> None:
        """To the trailers of each connection, or to a stream on the oldest."""
        if not self._policy.enable_oob_load_report:
            for connection in added:
                connection.watch_trailers(self._trailers)
            return
        oldest = self._connections[0] if self._connections else None
        if oldest is not self._watched:
            self.end()
            self._watched = oldest
            if oldest is not None:
                watch = LoadWatch(
                    self._hub.channel, oldest, self._policy.oob_reporting_period, self._heard
                )
                self._end_watch = self._hub.run(watch.run)

    def _trailers(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """A call to this address has ended."""
        load = self._reports.load_in(headers)
        if load is not None:
            self._heard(load)

    def _heard(self, load: LoadReport) -> None:
        self.weight.report(load, trio.current_time())
