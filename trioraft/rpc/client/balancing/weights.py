"""How much of the calls a server should get, by what it has reported of its load.

Source: gRPC proposal A58 (weighted_round_robin), "Subchannel Weights" and "Earliest Deadline First
Scheduler"; its later amendment has the application's utilization before the processors'.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trioraft.rpc.orca import LoadReport

    from .weighted import WeightedRoundRobin

__all__ = ["Weight", "balanced"]

# A weight counts as at most, and at least, this multiple of the mean: one server's strange opinion
# of itself must neither draw all calls nor keep it from ever being heard again. grpc-go's and
# grpc-java's bounds.
_MOST = 10.0
_LEAST = 0.1


class Weight:
    """The weight of one address. Times are Trio's, in seconds."""

    __slots__ = ("_policy", "_reported", "_since", "_value")

    def __init__(self, policy: WeightedRoundRobin) -> None:
        self._policy = policy
        self._value = 0.0
        self._reported = -inf  # when the latest report came
        self._since = inf  # when the first one came of those that count

    def follow(self, policy: WeightedRoundRobin) -> None:
        """Have other settings from now on."""
        self._policy = policy

    def connected(self) -> None:
        """The address is connected again: the blackout begins with its next report."""
        self._since = inf

    def report(self, load: LoadReport, now: float) -> None:
        """The server's load at this time. Nothing changes if it does not say enough."""
        utilization = load.application or load.cpu
        rate = load.requests_per_second
        if not utilization or not rate:
            return
        failing = load.errors_per_second / rate
        weight = rate / (utilization + failing * self._policy.error_utilization_penalty)
        if not 0.0 < weight < inf:
            return  # beyond what a float can hold
        if self._since == inf:
            self._since = now
        self._reported = now
        self._value = weight

    def at(self, now: float) -> float:
        """The weight, or 0 if there is none to go by: nothing reported yet, or for too long, or the
        blackout lasts. Once expired, reports begin with a blackout again."""
        if now - self._reported >= self._policy.weight_expiration_period:
            self._since = inf
            return 0.0
        blackout = self._policy.blackout_period
        if blackout > 0.0 and now - self._since < blackout:
            return 0.0
        return self._value


def balanced(weights: Sequence[float]) -> list[float]:
    """Weights to schedule by: 0 becomes the mean of the others, and none is far from that mean.

    Equal ones if fewer than two are known: whoever is alone in reporting shall not get all calls,
    nor none.
    """
    known = [weight for weight in weights if weight]
    if len(known) < 2:
        return [1.0] * len(weights)
    heaviest = max(known)  # as the unit: no sum of the largest floats is too large
    mean = sum(weight / heaviest for weight in known) / len(known)
    least, most = mean * _LEAST, mean * _MOST
    return [min(max(weight / heaviest, least), most) if weight else mean for weight in weights]
