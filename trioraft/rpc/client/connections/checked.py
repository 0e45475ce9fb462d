"""An address whose connections take calls only while their server says that it is healthy.

Source: gRPC proposal A17. Each connection has a watch of its own, for further ones may have come
out at another server, behind a proxy or a virtual IP.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.status import GRPCError, Status

from .connection import ClientConnection
from .connectivity import ConnectivityState
from .health import HealthChecks, HealthWatch
from .subchannel import Shared, Subchannel

__all__ = ["CheckedSubchannel"]

log = logging.getLogger(__name__)

_CONNECTING = ConnectivityState.CONNECTING
_READY = ConnectivityState.READY
_FAILING = ConnectivityState.TRANSIENT_FAILURE


class CheckedSubchannel(Subchannel):
    """As its base as long as there is no `Shared.health`.

    With it, `connections` are those that are healthy. The others are kept and watched: calls that
    run on them go on. TRANSIENT_FAILURE is a pause, or that no connection is healthy.
    """

    def __init__(
        self, shared: Shared, address: Address, name: str, changed: Callable[[Subchannel], None]
    ) -> None:
        super().__init__(shared, address, name, changed)
        # If there is something to ask, every connection that accepts calls; oldest first.
        self._watches: dict[ClientConnection, HealthWatch] = {}
        shared.checked[self] = None

    # ---- for the channel ---------------------------------------------------------------------

    def health_changed(self) -> None:
        """Something else is to be asked, or nothing. What was known holds until the answer."""
        before, self._watches = self._watches, {}
        for watch in before.values():
            watch.end()
        known = list(before) or self.connections
        checks = self._shared.health
        if checks is not None:
            for connection in known:
                last = before.get(connection)
                self._watch(checks, connection, _READY if last is None else last.state)
        elif known:
            self.connections = known
            self._enter(_READY)
            self._changed(self)

    # ---- as the base, with those that are not healthy ----------------------------------------

    @property
    def retry_at(self) -> float:
        """As the base's; an unhealthy server is not tried, but says when it is well."""
        return 0.0 if self._watches else super().retry_at

    def close(self) -> None:
        """As the base's, of all connections."""
        self._shared.checked.pop(self, None)
        watches, self._watches = self._watches, {}
        for watch in watches.values():
            watch.end()
        self.connections = list(watches) or self.connections
        super().close()

    def connected(self, connection: ClientConnection) -> None:
        """One more connection takes calls, as soon as its server says so."""
        checks = self._shared.health
        if checks is None or self._closed:
            super().connected(connection)
            return
        self._settled()
        self._watch(checks, connection, _CONNECTING)

    def retired(self, connection: ClientConnection, reason: str) -> None:
        """A connection takes no more calls, whatever its server would say."""
        watch = self._watches.pop(connection, None)
        if watch is not None:
            watch.end()
        super().retired(connection, reason)

    def _count(self) -> int:
        return len(self._watches) or super()._count()

    def _resting(self) -> ConnectivityState:
        if not self._watches:
            return super()._resting()
        waiting = any(watch.state is _CONNECTING for watch in self._watches.values())
        return _CONNECTING if waiting else _FAILING

    # ---- watching ----------------------------------------------------------------------------

    def _watch(
        self, checks: HealthChecks, connection: ClientConnection, state: ConnectivityState
    ) -> None:
        watch = self._watches[connection] = HealthWatch(checks, connection, state, self._judged)
        self._start(watch.run)

    def _judged(self, watch: HealthWatch) -> None:
        """Another answer, or another reason why there is none."""
        self.connections = [item for item, its in self._watches.items() if its.state is _READY]
        if watch.reason:
            log.info("%s: %s", self._name, watch.reason)
            self.error = GRPCError(Status.UNAVAILABLE, f"{self._name}: {watch.reason}")
            if self._entry is not None:
                self._entry.failed(watch.reason)
        self._enter(_READY if self.connections else self._resting())
        self._changed(self)
