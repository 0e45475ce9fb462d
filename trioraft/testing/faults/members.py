"""Members that come and go, move to other addresses, or lose their disks."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from trioraft.host import Node
from trioraft.raft.errors import TrioraftError
from trioraft.raft.types import Configuration, Member
from trioraft.testing.cluster import SimCluster
from trioraft.testing.trace import Trace

from .victims import Victims

__all__ = ["MemberFaults"]

_HOMELESS = 15.0  # virtual seconds without agreement after which who has moved goes back
_PATIENCE = 2.0  # virtual seconds that an operator waits for a change


class MemberFaults:
    """Each method changes the members once; False if it did not, or nobody knows."""

    def __init__(
        self, cluster: SimCluster, victims: Victims, rng: random.Random, trace: Trace
    ) -> None:
        self._cluster = cluster
        self._victims = victims
        self._rng = rng
        self._trace = trace
        self._moving = False
        self._put_back_at = math.inf

    async def change(self) -> bool:
        """Add, remove, promote or demote somebody, asked of any node."""
        name, target = self._victims.any(), self._rng.choice(self._cluster.names)
        if name is None:
            return False
        node = self._cluster.nodes[name]
        configuration = node.configuration
        if configuration.member(target) is None:
            return await self._add(name, target, learner=self._rng.random() < 0.4)
        if configuration.is_voter(target) and len(configuration.voters) <= 2:
            return False
        if self._rng.random() < 0.5:
            what, change = "remove", partial(node.remove_member, target)
        elif configuration.is_voter(target):
            what, change = "demote", partial(node.demote, target)
        else:
            what, change = "promote", partial(node.promote, target)
        return await self._ask(f"{what} {target}, asked of {name}", change)

    async def set(self) -> bool:
        """Say who shall be members, at times only if nobody else has changed them meanwhile."""
        name = self._victims.any()
        if name is None:
            return False
        node = self._cluster.nodes[name]
        before = node.configuration
        voters, learners = self._draw_members(before)
        if len(voters) < 2:
            return False
        expected = before if self._rng.random() < 0.5 else None
        what = f"set {_names(voters)} and learners {_names(learners)}"
        if expected is not None:
            what += f" in place of {_names(before.voters)} and {_names(before.learners)}"
        change = partial(node.set_members, voters, learners, expected=expected)
        return await self._ask(f"{what}, asked of {name}", change)

    async def move(self) -> bool:
        """A node goes on at another address, and the group is told. One at a time."""
        name = self._victims.any()
        if name is None or self._moving:
            return False
        self._moving = True
        with self._victims.hands_on([name]):
            await self._cluster.stop(name)
            self._cluster.move(name)
            await trio.sleep(self._rng.uniform(0.0, 0.3))
            await self._cluster.start(name)
        while not self._is_known(name):
            await self._tell_address(name)
            await trio.sleep(0.1)
        self._moving = False
        return True

    async def wipe(self) -> bool:
        """A member loses its disk: it is removed first, and added again on an empty one."""
        asked = self._victims.any()
        if asked is None:
            return False
        node = self._cluster.nodes[asked]
        configuration = node.configuration
        free = [name for name in self._victims.free() if name != asked]
        members = [name for name in free if configuration.member(name) is not None]
        if not members or len(configuration.voters) <= 2:
            return False
        name = self._rng.choice(members)
        with self._victims.hands_on([name]):
            remove = partial(node.remove_member, name)
            if not await self._ask(f"remove {name} to wipe it, asked of {asked}", remove):
                return False
            self._cluster.wipe(name)
            await trio.sleep(self._rng.uniform(0.0, 0.5))
            await self._cluster.start(name)
        asked = self._victims.any()
        if asked is not None:
            await self._add(asked, name, learner=not configuration.is_voter(name))
        return True

    async def tell_addresses(self) -> bool:
        """Tell the leader where its members are; True if it has known that before."""
        now = trio.current_time()
        self._put_back_at = min(self._put_back_at, now + _HOMELESS)
        if now >= self._put_back_at:
            self._put_back_at = now + _HOMELESS
            await self._put_back()
        strangers = [name for name in self._cluster.names if not self._is_known(name)]
        for name in strangers:
            await self._tell_address(name)
        return not strangers

    # -- inside

    async def _add(self, asked: str, target: str, *, learner: bool) -> bool:
        node = self._cluster.nodes[asked]
        add = partial(node.add_member, target, self._cluster.addresses[target], learner=learner)
        return await self._ask(f"add {target}, asked of {asked}", add)

    async def _ask(self, what: str, change: Callable[[], Awaitable[Any]]) -> bool:
        with trio.move_on_after(_PATIENCE):
            try:
                await change()
            except TrioraftError as error:
                self._trace.record(f"{what}: {type(error).__name__}")
            else:
                self._trace.record(what)
                return True
        return False

    def _draw_members(self, before: Configuration) -> tuple[list[Member], list[Member]]:
        voters: list[Member] = []
        learners: list[Member] = []
        for name in self._cluster.names:
            member = before.member(name)
            stays = 0.85 if member is not None else 0.3
            if self._rng.random() >= stays:
                continue
            votes = before.is_voter(name) or member is None
            if self._rng.random() < 0.15:
                votes = not votes
            priority = self._cluster.priorities.get(name, 0) if member is None else member.priority
            wanted = Member(name, self._cluster.addresses[name], priority)
            (voters if votes else learners).append(wanted)
        return voters, learners

    def _is_known(self, name: str) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        member = leader.configuration.member(name)
        return member is None or member.address == self._cluster.addresses[name]

    async def _tell_address(self, name: str) -> None:
        leader = self._leader()
        if leader is not None:
            address = self._cluster.addresses[name]
            await self._ask(f"{name} is at {address}", partial(leader.update_member, name, address))

    async def _put_back(self) -> None:
        """Have everybody where the node with the best log looks for him.

        Nobody else can be elected; and it cannot if the others it needs have moved meanwhile.
        """
        cores = [node.group.core for node in self._cluster.nodes.values()]
        best = max(cores, key=lambda core: (core.log.last_term, core.log.last_index))
        for member in best.configuration.members():
            if member.address != self._cluster.addresses[member.id]:
                await self._cluster.stop(member.id)
                self._cluster.move(member.id, member.address)
                await self._cluster.start(member.id)

    def _leader(self) -> Node | None:
        leader = self._cluster.leader()
        return None if leader is None else self._cluster.nodes[leader]


def _names(members: tuple[Member, ...] | list[Member]) -> str:
    return ",".join(member.id for member in members) or "nobody"
