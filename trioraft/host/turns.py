"""Elections take turns: of the groups of a host that look for a leader, a few try at a time.

A thousand groups that lose their leader together, or begin together, would starve each other of
the disk and of the processor until all of their elections time out. So they rest in a line. A
host lets those go first for which it comes first among the voters that it can reach
(`GroupRest.turn`); the others wait for a while, and mostly hear of a leader meanwhile. A group
without a quorum in reach does not try at all before a link comes up.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from trioraft.node import Group
from trioraft.raft.types import Member, NodeId

__all__ = ["ElectionTurns"]

_FIRST_ELECTIONS = 8.0  # at once, until it is known how the event loop takes it
_LATE = 0.08  # seconds: a pause that takes longer than this means too many elections at once
_PAUSE = 0.02  # seconds between two looks at how the elections go
_PRECEDENCE = 1.0  # seconds that each voter that comes before this one gets


class _Search(NamedTuple):
    """A group that is to be woken, and the leader that it has lost, if any."""

    group: Group
    lost: NodeId | None
    waited: bool = False  # for those that come before this host


@dataclass(slots=True)
class _Election:
    search: _Search
    until: float


class ElectionTurns:
    """For one host. Every group is in one place at most, so it is bounded by their number.

    at_most: elections at the same time, fewer while the event loop is late. patience: seconds
    that one may take, or as long as the group's timers need; then it goes to rest again, behind
    the others. reachable: whether a member's host is.
    """

    def __init__(
        self, *, at_most: int, patience: float, reachable: Callable[[Member], bool]
    ) -> None:
        self._at_most = at_most
        self._patience = patience
        self._reachable = reachable
        self._line: dict[bytes, _Search] = {}
        self._later: dict[bytes, _Search] = {}  # those that let others go first
        self._dues: list[tuple[float, int, bytes]] = []  # a heap: until when
        self._stranded: dict[bytes, _Search] = {}  # without a quorum in reach
        self._electing: dict[bytes, _Election] = {}
        self._numbers = itertools.count()
        self._bell = trio.Event()

    @property
    def busy(self) -> bool:
        """Groups wait for their turn now."""
        return bool(self._line)

    def enter(self, group: Group, lost: NodeId | None = None) -> None:
        """Wake a group that rests when its turn comes, unless it has found a leader by then.

        One that leads is woken in any case.
        """
        if group.group_id not in self._electing:
            self._stranded.pop(group.group_id, None)
            self._later.pop(group.group_id, None)
            self._line[group.group_id] = _Search(group, lost)
            self._bell.set()

    def leave(self, group_id: bytes) -> None:
        """The group is gone."""
        for waiting in (self._line, self._later, self._stranded):
            waiting.pop(group_id, None)
        self._electing.pop(group_id, None)

    def link_up(self) -> None:
        """Another host can be reached: there may be a quorum where there was none."""
        stranded, self._stranded = self._stranded, {}
        for group_id, search in stranded.items():
            self._line.setdefault(group_id, search)
        self._bell.set()

    async def run(self) -> None:
        """Runs until cancelled.

        How many may try depends on how late this task itself is run: when the event loop needs
        long for each pass, answers to votes come too late, and every election that fails is
        another one.
        """
        at_once = _FIRST_ELECTIONS
        while True:
            await self._wait()
            now = trio.current_time()
            self._settle(now)
            self._begin(now, int(at_once))
            await trio.sleep(_PAUSE)
            if trio.current_time() - now > _LATE:
                at_once = max(1.0, at_once * 0.7)
            else:
                at_once = min(self._at_most, at_once + 0.5)

    async def _wait(self) -> None:
        if not self._line and not self._electing:
            due = self._dues[0][0] if self._dues else math.inf
            with trio.move_on_at(due):
                await self._bell.wait()
            self._bell = trio.Event()

    def _settle(self, now: float) -> None:
        for group_id, election in list(self._electing.items()):
            group, lost, _ = election.search
            if not _searches(group, lost):
                del self._electing[group_id]
            elif election.until <= now:
                del self._electing[group_id]
                group.rest.rest_leaderless()
                self._line[group_id] = election.search  # behind those that wait
        while self._dues and self._dues[0][0] <= now:
            group_id = heapq.heappop(self._dues)[2]
            search = self._later.pop(group_id, None)
            if search is not None:
                self._line.setdefault(group_id, search)

    def _begin(self, now: float, at_once: int) -> None:
        woken = 0
        while self._line and max(woken, len(self._electing)) < at_once:
            group_id = next(iter(self._line))
            search = self._line.pop(group_id)
            rest = search.group.rest
            if rest.leads:
                woken += 1  # its followers wake, too
                rest.wake()
                continue
            if not _searches(search.group, search.lost):
                continue
            turn = rest.turn(search.lost, self._reachable)
            if turn is None:
                self._stranded[group_id] = search
            elif turn > 0 and not search.waited:
                self._later[group_id] = search._replace(waited=True)
                due = now + turn * _PRECEDENCE
                heapq.heappush(self._dues, (due, next(self._numbers), group_id))
            else:
                rest.wake()
                patience = max(self._patience, rest.election_time)
                self._electing[group_id] = _Election(search, now + patience)


def _searches(group: Group, lost: NodeId | None) -> bool:
    """It still has to find a leader other than the lost one, and this node a say in it."""
    return group.failure is None and group.rest.electing(lost)
