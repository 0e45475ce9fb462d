"""How full a group's bounded queues are, for checkers and for whoever watches a node."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Occupancy"]


class Occupancy(NamedTuple):
    """One queue: how many (or how many bytes) of `what` are in it, and its documented limit."""

    what: str
    used: int
    limit: int
