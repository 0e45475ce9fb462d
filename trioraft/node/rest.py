"""A group's side of rest: what the host of many groups asks of each of them.

Rest itself is the core's (`raft/rules/quiescence.py`); when a group should rest is the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import blake2b
from typing import Any, NamedTuple

from trioraft.raft.core import RaftCore
from trioraft.raft.types import Member, NodeId, Role

from .driver import Driver

__all__ = ["GroupRest", "IdleMark"]


class IdleMark(NamedTuple):
    """Changes whenever something happens in a group; heartbeats do not count."""

    role: Role
    term: int
    last_index: int
    commit: int
    asked: int


class GroupRest:
    """Puts one group to rest and wakes it. Everything here is a plain call that never waits."""

    def __init__(self, group_id: bytes, core: RaftCore, driver: Driver) -> None:
        self._group_id = group_id
        self._core = core
        self._driver = driver
        self.on_change: Callable[[bool], Any] = lambda resting: (
            None
        )  # told when rest begins or ends

    @property
    def leads(self) -> bool:
        return self._core.role is Role.LEADER

    @property
    def resting(self) -> bool:
        return self._core.resting

    @property
    def position(self) -> tuple[int, int]:
        """The term, and the index of the last entry."""
        return self._core.term, self._core.last_index

    def mark(self) -> IdleMark:
        """To be compared with the mark of a while ago."""
        core = self._core
        return IdleMark(core.role, core.term, core.last_index, core.commit, self._driver.asked)

    def electing(self, lost: NodeId | None) -> bool:
        """No leader is known but the `lost` one, and this node has a vote."""
        core = self._core
        return core.leader_id in (None, lost) and core.configuration.is_voter(core.node_id)

    def turn(self, lost: NodeId | None, reachable: Callable[[Member], bool]) -> int | None:
        """How many voters come before this one in a search for a leader; None if it can't succeed.

        Every replica of a group finds the same order among those that can be reached: by priority,
        then by a hash of group and voter. So hosts that have lost the same leaders share the
        elections evenly, and do not stand in each other's way.
        """
        core = self._core
        configuration = core.configuration
        voters = [m for m in configuration.members() if configuration.is_voter(m.id)]
        turns: list[tuple[int, bytes, NodeId]] = []
        away: list[NodeId] = []
        for voter in voters:
            if voter.id != core.node_id and not reachable(voter):
                away.append(voter.id)
            elif voter.id != lost:
                place = blake2b(self._group_id + voter.id.encode(), digest_size=8).digest()
                turns.append((-voter.priority, place, voter.id))
        if not core.quorum_without(away):
            return None
        return sum(turn < own for own in turns if own[2] == core.node_id for turn in turns)

    @property
    def election_time(self) -> float:
        """Seconds that this node may need to stand for election once it is woken."""
        return self._core.election_time

    def begin(self, now: float) -> None:
        """Begin at rest. Only before the group runs; `on_change` is told when it does."""
        self._core.rest_leaderless(now)
        self.rest_leaderless()  # which takes a turn

    def rest_leaderless(self) -> None:
        """Rest until an election can go on, unless a leader is known by now."""
        self._driver.call(self._core.rest_leaderless)

    def possible(self, away: Collection[NodeId] = ()) -> bool:
        """As `RaftCore.rest_possible`."""
        return self._core.rest_possible(away)

    def rest(self, away: Collection[NodeId] = ()) -> None:
        """Rest as a leader, if that is still possible then. The followers must have agreed."""

        def rest(now: float) -> None:
            if self.leads:
                self._core.rest(now, away)

        self._driver.call(rest)

    def rest_under(
        self, leader: NodeId, term: int, last_index: int, answer: Callable[[bool], Any]
    ) -> None:
        """Rest as a follower of `leader`, in its `term` and at its `last_index`.

        `answer` is called later with whether it rests, but never if the group stops first.
        """

        def rest(now: float) -> None:
            core = self._core
            same = (core.leader_id, core.term, core.last_index) == (leader, term, last_index)
            answer(same and not self.leads and core.rest(now))

        self._driver.call(rest)

    def leader_gone(self) -> None:
        """The host of the leader, under which this replica rests, is gone."""
        self._core.leader_gone()

    def wake(self) -> None:
        """Take up heartbeats or the election timer again."""
        self._driver.call(self._core.wake)
