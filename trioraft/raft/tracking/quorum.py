"""Majorities, plain and joint (Raft §5.2, §5.4.2, §6): one small calculation that serves all.

A value is *agreed* by a quorum when a majority of every voter set has reached it. Applied to
match indices that is the commit index, to acknowledged rounds the newest confirmed heartbeat
round, to contact times the moment at which a majority had last been heard from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

from trioraft.raft.types import Configuration, NodeId

__all__ = ["Quorum", "Tally"]

T = TypeVar("T", int, float)


class Tally(Enum):
    """Where an election stands."""

    PENDING = 0
    WON = 1
    LOST = 2


class Quorum:
    """The voter sets of one configuration; two of them while a change is joint (§6)."""

    __slots__ = ("voter_sets",)

    def __init__(self, configuration: Configuration) -> None:
        sets = (configuration.voters, configuration.old_voters)
        self.voter_sets: tuple[tuple[NodeId, ...], ...] = tuple(
            tuple(member.id for member in members) for members in sets if members
        )

    def agreed(self, value_of: Callable[[NodeId], T], nothing: T) -> T:
        """The largest value that a majority of every voter set has reached.

        `nothing` is the answer when there are no voters at all: nobody can agree then.
        """
        if not self.voter_sets:
            return nothing
        return min(_majority_value([value_of(v) for v in voters]) for voters in self.voter_sets)

    def tally(self, votes: Mapping[NodeId, bool | None]) -> Tally:
        """Count votes (True: granted, False: refused, None or missing: unknown)."""
        if not self.voter_sets:
            return Tally.LOST
        won = True
        for voters in self.voter_sets:
            majority = len(voters) // 2 + 1
            granted = sum(votes.get(voter) is True for voter in voters)
            refused = sum(votes.get(voter) is False for voter in voters)
            if len(voters) - refused < majority:
                return Tally.LOST
            won = won and granted >= majority
        return Tally.WON if won else Tally.PENDING


def _majority_value(values: list[T]) -> T:
    """The largest value that more than half of `values` are at or above."""
    values.sort(reverse=True)
    return values[len(values) // 2]
