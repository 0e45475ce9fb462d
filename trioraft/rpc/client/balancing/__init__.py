"""Choosing among the addresses of a channel: one of them, or all in turn,
or by what they say of their load."""

from .pick_first import PickFirst
from .policy import Balancer, Balancing, BalancingLike, Hub, balancing_from, balancing_of
from .round_robin import RoundRobin
from .weighted import WeightedRoundRobin

__all__ = [
    "Balancer",
    "Balancing",
    "BalancingLike",
    "Hub",
    "PickFirst",
    "RoundRobin",
    "WeightedRoundRobin",
    "balancing_from",
    "balancing_of",
]
