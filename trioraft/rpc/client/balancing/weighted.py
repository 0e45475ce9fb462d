"""weighted_round_robin: calls go to every address, to each as many as its reports of load bear.

As round_robin, but for whose turn it is. Whether a period is over is looked at by the calls
themselves, so that no task or timer runs for it. Source: gRPC proposal A58.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.config.fields import Fields
from trioraft.rpc.client.connections.subchannel import Subchannel
from trioraft.rpc.client.naming.address import Address

from .policy import Balancer, Balancing, Hub
from .round_robin import RoundRobinBalancer
from .stride import Stride
from .weights import balanced

if TYPE_CHECKING:
    from .backend import Backend

__all__ = ["WeightedRoundRobin"]

_NAME = "weighted_round_robin"
_FIELDS = frozenset(
    {
        "enableOobLoadReport",
        "oobReportingPeriod",
        "blackoutPeriod",
        "weightExpirationPeriod",
        "weightUpdatePeriod",
        "errorUtilizationPenalty",
    }
)
_LEAST_UPDATE = 0.1
_MOST_PERIOD = 315_576_000_000.0  # of a protobuf Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedRoundRobin:
    """All addresses in turn, the less utilized ones more often.

    The weight of an address is requests/s / (utilization + errors/s / requests/s * penalty), as its
    server reports them (ORCA): the application's utilization, or else the processors'. Addresses
    without a weight get the mean of the others; with fewer than two weights, all get the same.

    Attributes:
        enable_oob_load_report: Have each server stream its reports, instead of reading those that
            come with calls. For servers of few or long calls.
        oob_reporting_period: Seconds between streamed reports; the server may want more. Above 0.
        blackout_period: Seconds for which a server must have reported before its weight is used,
            from its first report since it was connected, or since its weight has expired. 0 and up.
        weight_expiration_period: Seconds without a report after which a weight is not used. 0 and
            up; at 0 no weight ever is.
        weight_update_period: Seconds from one calculation of the weights to the next; 0.1 and up.
        error_utilization_penalty: What a server loses by failing calls: with 1, one that fails all
            of them counts as if fully utilized besides. 0 and up.

    Raises ValueError for a value out of its range.
    """

    enable_oob_load_report: bool = False
    oob_reporting_period: float = 10.0
    blackout_period: float = 10.0
    weight_expiration_period: float = 180.0
    weight_update_period: float = 1.0
    error_utilization_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name in ("blackout_period", "weight_expiration_period", "error_utilization_penalty"):
            _check(name, getattr(self, name), 0.0)
        _check("weight_update_period", self.weight_update_period, _LEAST_UPDATE)
        if not 0.0 < self.oob_reporting_period < _MOST_PERIOD:
            raise ValueError(
                f"{_NAME}: oob_reporting_period is positive, not {self.oob_reporting_period!r}"
            )

    @classmethod
    def from_config(cls, options: Mapping[str, Any]) -> WeightedRoundRobin:
        """From a service config. Update periods below 100 ms count as 100 ms (A58).

        Raises:
            ValueError: A field has a value that it cannot have; says which.
        """
        fields = Fields(options, _NAME, _FIELDS)
        given: dict[str, Any] = {
            "enable_oob_load_report": fields.flag("enableOobLoadReport"),
            "oob_reporting_period": None,
            "blackout_period": fields.duration("blackoutPeriod"),
            "weight_expiration_period": fields.duration("weightExpirationPeriod"),
            "weight_update_period": fields.duration("weightUpdatePeriod"),
            "error_utilization_penalty": fields.number("errorUtilizationPenalty"),
        }
        if fields.has("oobReportingPeriod"):
            given["oob_reporting_period"] = fields.positive_duration("oobReportingPeriod")
        if given["weight_update_period"] is not None:
            given["weight_update_period"] = max(given["weight_update_period"], _LEAST_UPDATE)
        return cls(**{name: value for name, value in given.items() if value is not None})

    def start(self, hub: Hub) -> Balancer:
        """Put it to work on a channel."""
        return _WeightedRoundRobin(hub, self)


def _check(name: str, value: float, least: float) -> None:
    if not least <= value < inf:
        raise ValueError(f"{_NAME}: {name} is a number from {least:g}, not {value!r}")


class _WeightedRoundRobin(RoundRobinBalancer):
    def __init__(self, hub: Hub, policy: WeightedRoundRobin) -> None:
        super().__init__(hub)
        self._policy = policy
        self._backends: dict[Address, Backend] = {}
        self._ready: list[Subchannel] = []  # whom the scheduler has, in its order
        self._stride: Stride | None = None
        self._due = -inf  # when the weights are to be looked at again

    def update(self, addresses: Sequence[Address]) -> None:
        wanted = frozenset(addresses)
        for address in [item for item in self._backends if item not in wanted]:
            self._backends.pop(address).end()
        super().update(addresses)

    def close(self) -> None:
        backends, self._backends = self._backends, {}
        for backend in backends.values():
            backend.end()
        super().close()

    def adopt(self, balancing: Balancing) -> bool:
        if not isinstance(balancing, WeightedRoundRobin):
            return False
        self._policy = balancing
        for backend in self._backends.values():
            backend.follow(balancing)
        self._due = -inf
        return True

    def changed(self, subchannel: Subchannel) -> None:
        backend = self._backends.get(subchannel.address)
        if backend is None:
            # Here, because it loads protobuf messages, which other policies do without.
            from .backend import Backend

            backend = self._backends[subchannel.address] = Backend(self._hub, self._policy)
        backend.changed(subchannel)
        super().changed(subchannel)

    def _order_of(self, ready: list[Subchannel]) -> Callable[[], int]:
        if ready != self._ready:
            self._ready = ready
            self._stride = None
        return self._pick

    def _pick(self) -> int:
        """Whose turn it is, of those that are ready: called for each call."""
        now = trio.current_time()
        stride = self._stride
        if stride is None or now >= self._due:
            stride = self._reweigh(now)
        return stride.pick()

    def _reweigh(self, now: float) -> Stride:
        self._due = now + self._policy.weight_update_period
        weights = balanced([self._backends[item.address].weight.at(now) for item in self._ready])
        stride = self._stride
        if stride is None:
            stride = self._stride = Stride(weights, self._hub.rng)
        else:
            stride.reweigh(weights)
        return stride
