"""Rest: idle groups stop their heartbeats and timers, and the host watches the hosts instead.

A leader in whose group nothing has happened for a while asks the replicas on the other hosts to
rest, through the links, and rests itself once all that can be reached have agreed. From then
on the group costs nothing. The followers trust in the link from their leader's host: when it
is lost, their groups are woken in turns (`turns.py`), and elect a leader when they hear of none.
Groups that have just been opened begin the same way.

Nothing of this matters for safety. Whatever a resting group is asked wakes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from trioraft.node import Group, IdleMark
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Member, NodeId

from .links import LinkPool
from .turns import ElectionTurns

__all__ = ["RestSettings", "Resting"]

_ANSWER_TIMEOUT = 2.0  # seconds after which followers are asked again whether they rest


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """When groups rest, in seconds.

    idle_after: a group in which nothing has happened for this long is put to rest.
    check_interval: how often the host looks for such groups.
    max_elections: groups of this host that may look for a leader at the same time, fewer while
        the event loop is late. The others are at rest until those have found one, or have not
        within `election_patience`, or the time that their election timers need if that is more:
        then they go to rest too, and wait for another turn.
    """

    idle_after: float = 2.0
    check_interval: float = 0.25
    max_elections: int = 32
    election_patience: float = 3.0

    def __post_init__(self) -> None:
        """Raises ConfigurationError naming the field."""
        for name in ("idle_after", "check_interval", "max_elections", "election_patience"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be above 0")


@dataclass(slots=True)
class _Watch:
    """What the host remembers of one group."""

    group: Group
    mark: IdleMark
    since: float  # when the mark was first seen
    led: float  # when it last had a leader, or was told to wait for its turn to find one
    asking: _Question | None = None
    under: NodeId | None = None  # the leader under which its replica here rests


@dataclass(slots=True)
class _Question:
    """A leader has asked its followers to rest; who has not agreed yet, and who is away."""

    term: int
    expires: float
    missing: list[NodeId]
    away: list[NodeId] = field(default_factory=list)


class Resting:
    """Implements `RestDesk` for the groups of one host. Bounded by the number of groups."""

    def __init__(self, node_id: NodeId, settings: RestSettings) -> None:
        self._node_id = node_id
        self._settings = settings
        self._watched: dict[bytes, _Watch] = {}
        self._awake: dict[bytes, _Watch] = {}  # those of them that are to be looked at
        self._links: LinkPool | None = None
        self._turns = ElectionTurns(
            at_most=settings.max_elections,
            patience=settings.election_patience,
            reachable=self._reachable,
        )

    def use(self, links: LinkPool) -> None:
        """Ask through these links."""
        self._links = links

    def add(self, group: Group) -> None:
        """Watch a group from now on. It must not run yet: it begins at rest, for its turn."""
        now = trio.current_time()
        group.rest.begin(now)
        watch = _Watch(group, group.rest.mark(), now, now)
        self._watched[group.group_id] = self._awake[group.group_id] = watch
        group.rest.on_change = partial(self._rest_changed, watch)
        self._turns.enter(group)

    def remove(self, group_id: bytes) -> None:
        self._watched.pop(group_id, None)
        self._awake.pop(group_id, None)
        self._turns.leave(group_id)

    @property
    def count(self) -> int:
        """Groups that rest here now."""
        return sum(watch.group.rest.resting for watch in self._watched.values())

    async def run(self) -> None:
        """Runs until cancelled; then nothing rests any more but what rests already."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._turns.run)
            while True:
                await trio.sleep(self._settings.check_interval)
                now = trio.current_time()
                for watch in list(self._awake.values()):
                    self._look(watch, now)

    def _rest_changed(self, watch: _Watch, resting: bool) -> None:
        """Called by the group's driver, whoever put it to rest or woke it."""
        if resting:
            self._awake.pop(watch.group.group_id, None)
        elif watch.group.group_id in self._watched:
            self._awake[watch.group.group_id] = watch
            watch.mark, watch.asking = watch.group.rest.mark(), None
            watch.since = watch.led = trio.current_time()

    def _reachable(self, member: Member) -> bool:
        """Its host is up, or cannot tell us."""
        assert self._links is not None, "resting before it has links"
        return self._links.find(member) is not None or self._links.foreign(member)

    # -- leaders

    def _look(self, watch: _Watch, now: float) -> None:
        """Begin to put a group to rest that leads here and in which nothing happens."""
        rest = watch.group.rest
        if rest.resting:
            return
        self._look_for_leader(watch, now)
        mark = rest.mark()
        if mark != watch.mark:
            watch.mark, watch.since, watch.asking = mark, now, None
            return
        # With other groups waiting for their turn to elect, the sooner the better: every group
        # that is awake costs heartbeats, and may cost those their elections.
        idle_after = 0.0 if self._turns.busy else self._settings.idle_after
        if now - watch.since < idle_after or not rest.leads:
            return
        if watch.asking is not None and now < watch.asking.expires:
            return
        self._ask(watch, now)

    def _look_for_leader(self, watch: _Watch, now: float) -> None:
        """A group that finds no leader by itself gets in line with the others."""
        group = watch.group
        if group.failure is not None or not group.rest.electing(None):
            watch.led = now
        elif now - watch.led > max(self._settings.election_patience, group.rest.election_time):
            watch.led = now
            group.rest.rest_leaderless()
            self._turns.enter(group)

    def _ask(self, watch: _Watch, now: float) -> None:
        rest = watch.group.rest
        reachable, away = self._split(watch.group.configuration.members())
        if not rest.possible(away) or self._has_foreign(watch.group):
            return
        term, last_index = rest.position
        watch.asking = _Question(
            term, now + _ANSWER_TIMEOUT, [link.peer for link in reachable], away
        )
        for link in reachable:
            link.ask_rest(watch.group.group_id, term, last_index)
        self._settle(watch)

    def _split(self, members: Iterable[Member]) -> tuple[list[Any], list[NodeId]]:
        """The links to those members whose hosts can be reached, and the ids of the others."""
        assert self._links is not None, "resting before it has links"
        links, away = [], []
        for member in members:
            if member.id == self._node_id:
                continue
            link = self._links.find(member)
            if link is None:
                away.append(member.id)
            else:
                links.append(link)
        return links, away

    def _has_foreign(self, group: Group) -> bool:
        """A follower of another make knows of no rest: it would miss its heartbeats."""
        assert self._links is not None, "resting before it has links"
        return any(self._links.foreign(member) for member in group.configuration.members())

    def rest_answered(self, peer: NodeId, group_id: bytes, term: int, rests: bool) -> None:
        """A follower has agreed to rest, or not."""
        watch = self._watched.get(group_id)
        if watch is None or watch.asking is None or watch.asking.term != term:
            return
        if not rests:
            watch.asking = None  # asked again at the next look
        elif peer in watch.asking.missing:
            watch.asking.missing.remove(peer)
            self._settle(watch)

    def _settle(self, watch: _Watch) -> None:
        question = watch.asking
        if question is not None and not question.missing:
            watch.asking = None
            if watch.group.rest.mark() == watch.mark:
                watch.group.rest.rest(question.away)

    def link_changed(self, peer: NodeId, up: bool) -> None:
        """A peer that is back gets heartbeats again: it may have missed something meanwhile.

        One that is gone needs nothing of a leader: when it comes back, or stands for election
        because it has lost sight of us, it wakes the group.
        """
        if up:
            self._turns.link_up()
            for watch in self._watched.values():
                rest = watch.group.rest
                if rest.resting and rest.leads and watch.group.configuration.member(peer):
                    self._turns.enter(watch.group)

    # -- followers

    def rest_under(
        self,
        leader: NodeId,
        group_id: bytes,
        term: int,
        last_index: int,
        answer: Callable[[bool], Any],
    ) -> None:
        """As `RestDesk.rest_under`."""
        watch = self._watched.get(group_id)
        if watch is None or watch.group.failure is not None:
            answer(False)
            return
        watch.under = leader
        watch.group.rest.rest_under(leader, term, last_index, answer)

    def link_lost(self, leader: NodeId) -> None:
        """As `RestDesk.link_lost`."""
        for watch in self._watched.values():
            rest = watch.group.rest
            if watch.under == leader and rest.resting and not rest.leads:
                rest.leader_gone()
                self._turns.enter(watch.group, leader)
