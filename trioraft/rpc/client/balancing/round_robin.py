"""round_robin: a connection to every address, and calls go to them in turn.

Source: gRPC Load Balancing (load-balancing.md), "round_robin"; as in gRPC's own, an address that
fails counts as failing until it is connected again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trioraft.rpc.client.connections.connectivity import ConnectivityState
from trioraft.rpc.client.connections.subchannel import Subchannel
from trioraft.rpc.client.naming.address import Address

from .policy import Balancer, Hub

__all__ = ["RoundRobin", "RoundRobinBalancer"]

_READY = ConnectivityState.READY
_IDLE = ConnectivityState.IDLE
_FAILING = ConnectivityState.TRANSIENT_FAILURE


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """All addresses in turn, those that are not connected left out."""

    @classmethod
    def from_config(cls, options: Mapping[str, Any]) -> RoundRobin:
        """From a service config: it has no options."""
        return cls()

    def start(self, hub: Hub) -> Balancer:
        """Put it to work on a channel."""
        return RoundRobinBalancer(hub)


class RoundRobinBalancer(Balancer):
    """The policy at work; `weighted_round_robin` differs in whose turn it is. Internal."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._subchannels: dict[Address, Subchannel] = {}
        self._failing: dict[Address, Subchannel] = {}  # since their last connection; latest last

    def update(self, addresses: Sequence[Address]) -> None:
        known, self._subchannels = self._subchannels, {}
        for address in dict.fromkeys(addresses):
            subchannel = known.pop(address, None)
            if subchannel is None:
                subchannel = self._hub.subchannel(address, self.changed, health=True)
            self._subchannels[address] = subchannel
        for gone in known.values():
            self._failing.pop(gone.address, None)
            gone.close()
        if not self._subchannels:
            self._no_addresses()
            return
        for subchannel in self._subchannels.values():
            subchannel.connect()
        self._publish()

    def leave_idle(self) -> None:
        """Never idle: connections that are lost are made again at once."""

    def close(self) -> None:
        subchannels, self._subchannels = self._subchannels, {}
        self._failing = {}
        for subchannel in subchannels.values():
            subchannel.close()

    def changed(self, subchannel: Subchannel) -> None:
        if subchannel.state is _READY:
            self._failing.pop(subchannel.address, None)
        elif subchannel.state is _FAILING:
            self._failing.pop(subchannel.address, None)
            self._failing[subchannel.address] = subchannel
            self._hub.resolve_again()
        elif subchannel.state is _IDLE:  # lost, or its pause is over
            if subchannel.address not in self._failing:
                self._hub.resolve_again()
            subchannel.connect()
        self._publish()

    def _publish(self) -> None:
        ready = [item for item in self._subchannels.values() if item.connections]
        if ready:
            self._hub.publish(_READY, ready, order=self._order_of(ready))
        elif len(self._failing) < len(self._subchannels):
            self._hub.publish(ConnectivityState.CONNECTING)
        else:
            latest = next(reversed(self._failing.values()))
            soonest = min(item.retry_at for item in self._failing.values())
            self._hub.publish(_FAILING, error=latest.error, retry_at=soonest)

    def _order_of(self, ready: list[Subchannel]) -> Callable[[], int] | None:
        """What says whose turn it is of these; None: each in turn."""
        return None
