"""Choosing among the addresses of a channel: one of them, or all in turn."""

from .pick_first import PickFirst
from .policy import Balancer, Balancing, BalancingLike, Hub, balancing_from, balancing_of
from .round_robin import RoundRobin

__all__ = [
    "Balancer",
    "Balancing",
    "BalancingLike",
    "Hub",
    "PickFirst",
    "RoundRobin",
    "balancing_from",
    "balancing_of",
]
