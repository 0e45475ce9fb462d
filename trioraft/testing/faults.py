"""What goes wrong in a simulated cluster, and when: chosen by the seed.

Each run has a choice of its own among the kinds of faults, because faults hide each other: a
cluster that is always partitioned never shows what a full disk does to it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import trio

from trioraft.raft.errors import TrioraftError

from .cluster import SimCluster
from .disk_faults import DiskFaults
from .network import LinkSettings
from .trace import Trace

__all__ = ["FAULTS", "FaultInjector", "choose_faults"]

_SLOW = LinkSettings(latency_min=0.05, latency_max=0.3, bandwidth=50_000.0, split=0.2)

FAULTS = (
    "leader crash", "crash", "power cut", "restart", "leader isolated", "link cut",
    "connection reset", "slow link", "pause", "leader pause", "transfer", "snapshot",
    "membership", "disk full", "disk error", "rot",
)  # fmt: skip


def choose_faults(rng: random.Random) -> tuple[str, ...]:
    """Some of `FAULTS`, at least one."""
    return tuple(kind for kind in FAULTS if rng.random() < 0.6) or (rng.choice(FAULTS),)


class FaultInjector:
    """Does harm, several kinds of it at a time, and repairs everything in the end.

    kinds: which of `FAULTS` may happen.
    counts: how often each kind really happened: a run that never lost a leader proves little.
    """

    def __init__(
        self,
        cluster: SimCluster,
        rng: random.Random,
        trace: Trace,
        kinds: Sequence[str] = FAULTS,
    ) -> None:
        self._cluster = cluster
        self._rng = rng
        self._trace = trace
        self._busy: set[str] = set()  # nodes that something is being done to
        self._disks = DiskFaults(cluster, rng, trace)
        self.counts: Counter[str] = Counter()
        unknown = [kind for kind in kinds if kind not in FAULTS]
        if unknown:
            raise ValueError(f"faults: {unknown[0]!r} is none of {', '.join(FAULTS)}")
        self.kinds = tuple(kinds)

    async def run(self) -> None:
        """Do harm until cancelled."""
        actions: dict[str, Callable[[], Awaitable[bool]]] = {
            "leader crash": self._crash_leader,
            "crash": self._crash_any,
            "power cut": self._power_cut,
            "restart": self._restart,
            "leader isolated": self._isolate_leader,
            "link cut": self._cut_link,
            "connection reset": self._reset_connections,
            "slow link": self._slow_link,
            "pause": self._pause_any,
            "leader pause": self._pause_leader,
            "transfer": self._transfer,
            "snapshot": self._snapshot,
            "membership": self._change_members,
            "disk full": self._fill_disk,
            "disk error": self._break_disk,
            "rot": self._rot,
        }
        chosen = [(kind, actions[kind]) for kind in self.kinds]
        if not chosen:
            return
        async with trio.open_nursery() as nursery:
            for _ in range(self._rng.choice((1, 1, 2))):
                nursery.start_soon(self._harm, chosen)

    async def _harm(self, chosen: list[tuple[str, Callable[[], Awaitable[bool]]]]) -> None:
        while True:
            await trio.sleep(self._rng.uniform(0.1, 0.8))
            kind, action = self._rng.choice(chosen)
            if await action():
                self.counts[kind] += 1

    async def repair(self) -> None:
        """End all faults and start every node that is down."""
        cluster = self._cluster
        self._busy.clear()
        for name in cluster.names:
            cluster.resume(name)
            if self._disks.is_rotten(name) and name in cluster.nodes:
                await cluster.stop(name)
            self._disks.repair(name)
        cluster.network.reset_links()
        cluster.network.heal()
        for name in cluster.names:
            # One with a broken disk may be about to stop over it.
            if name not in cluster.nodes or name in cluster.fragile:
                await cluster.restart(name)

    # -- whom

    @contextmanager
    def _hands_on(self, names: Sequence[str]) -> Iterator[None]:
        """Nobody else does anything to these nodes meanwhile."""
        self._busy.update(names)
        yield
        self._busy.difference_update(names)  # a cancelled fault is left as it is, for `repair`

    def _free(self) -> list[str]:
        nodes = self._cluster.nodes
        return [name for name in self._cluster.names if name in nodes and name not in self._busy]

    def _any(self) -> str | None:
        free = self._free()
        return self._rng.choice(free) if free else None

    def _leader(self) -> str | None:
        leader = self._cluster.leader()
        return None if leader in self._busy else leader

    # -- processes

    async def _crash_leader(self) -> bool:
        return await self._crash(self._leader())

    async def _crash_any(self) -> bool:
        return await self._crash(self._any())

    async def _crash(self, name: str | None) -> bool:
        if name is None:
            return False
        with self._hands_on([name]):
            self._cluster.kill(name)
            await trio.sleep(self._rng.uniform(0.0, 1.0))
            await self._cluster.start(name)
        return True

    async def _power_cut(self) -> bool:
        """The whole building loses power."""
        names = self._free()
        if len(names) < len(self._cluster.names):
            return False
        with self._hands_on(names):
            for name in names:
                self._cluster.kill(name)
            await trio.sleep(self._rng.uniform(0.0, 0.5))
            self._rng.shuffle(names)
            for name in names:
                await self._cluster.start(name)
        return True

    async def _restart(self) -> bool:
        """An operator stops a node in good order and starts it again."""
        name = self._any()
        if name is None:
            return False
        with self._hands_on([name]):
            await self._cluster.stop(name)
            await trio.sleep(self._rng.uniform(0.0, 0.5))
            await self._cluster.start(name)
        return True

    async def _pause_leader(self) -> bool:
        return await self._pause(self._leader())

    async def _pause_any(self) -> bool:
        return await self._pause(self._any())

    async def _pause(self, name: str | None) -> bool:
        if name is None:
            return False
        with self._hands_on([name]):
            self._cluster.pause(name)
            await trio.sleep(self._rng.choice((0.05, 0.3, 1.0, 2.0)) * self._rng.random())
            self._cluster.resume(name)
        return True

    # -- the network

    async def _isolate_leader(self) -> bool:
        leader = self._cluster.leader()
        if leader is None:
            return False
        others = [n for n in self._cluster.names if n != leader]
        await self._partition([leader], others, one_way=self._rng.random() < 0.4)
        return True

    async def _cut_link(self) -> bool:
        pair = self._rng.sample(self._cluster.names, 2)
        await self._partition(pair[:1], pair[1:], one_way=self._rng.random() < 0.5)
        return True

    async def _partition(self, left: list[str], right: list[str], *, one_way: bool) -> None:
        network = self._cluster.network
        if one_way and self._rng.random() < 0.5:
            left, right = right, left
        near = [self._cluster.host_of(name) for name in left]
        far = [self._cluster.host_of(name) for name in right]
        network.partition(
            near,
            far,
            one_way=one_way,
            lose=self._rng.random() < 0.5,
            refuse=self._rng.random() < 0.5,
        )
        await trio.sleep(self._rng.uniform(0.2, 1.5))
        network.heal(near, far)

    async def _reset_connections(self) -> bool:
        source, target = self._rng.sample(self._cluster.names, 2)
        cut = self._cluster.network.reset(
            self._cluster.host_of(source),
            self._cluster.host_of(target),
            after_bytes=self._rng.randrange(0, 2000),
        )
        return cut > 0

    async def _slow_link(self) -> bool:
        source, target = (
            self._cluster.host_of(name) for name in self._rng.sample(self._cluster.names, 2)
        )
        network = self._cluster.network
        self._trace.record(f"slow {source} {target}")
        network.set_link(source, target, _SLOW, one_way=self._rng.random() < 0.5)
        await trio.sleep(self._rng.uniform(0.3, 2.0))
        network.reset_links(source, target)
        return True

    # -- what operators do

    async def _transfer(self) -> bool:
        leader = self._leader()
        if leader is None:
            return False
        with trio.move_on_after(1.0):
            try:
                heir = await self._cluster.nodes[leader].transfer_leadership()
            except TrioraftError as error:  # leadership moved on its own, or nobody can take it
                self._trace.record(f"transfer from {leader}: {type(error).__name__}")
            else:
                self._trace.record(f"transfer from {leader} to {heir}")
        return True

    async def _snapshot(self) -> bool:
        name = self._any()
        if name is None:
            return False
        with trio.move_on_after(1.0):
            try:
                meta = await self._cluster.nodes[name].snapshot()
            except TrioraftError as error:
                self._trace.record(f"snapshot of {name}: {type(error).__name__}")
            else:
                self._trace.record(f"snapshot of {name} at {meta.index}")
        return True

    async def _change_members(self) -> bool:
        """Add, remove, promote or demote somebody, asked of any node."""
        name, target = self._any(), self._rng.choice(self._cluster.names)
        if name is None:
            return False
        node = self._cluster.nodes[name]
        configuration = node.configuration
        change: Callable[[], Awaitable[Any]]
        if configuration.member(target) is None:
            learner = self._rng.random() < 0.4
            address = self._cluster.addresses[target]
            what, change = "add", partial(node.add_member, target, address, learner=learner)
        elif configuration.is_voter(target) and len(configuration.voters) <= 2:
            return False
        elif self._rng.random() < 0.5:
            what, change = "remove", partial(node.remove_member, target)
        elif configuration.is_voter(target):
            what, change = "demote", partial(node.demote, target)
        else:
            what, change = "promote", partial(node.promote, target)
        with trio.move_on_after(2.0):
            try:
                await change()
            except TrioraftError as error:
                self._trace.record(f"{what} {target}, asked of {name}: {type(error).__name__}")
            else:
                self._trace.record(f"{what} {target}, asked of {name}")
                return True
        return False

    # -- disks

    async def _fill_disk(self) -> bool:
        return await self._harm_disk(self._disks.fill)

    async def _break_disk(self) -> bool:
        return await self._harm_disk(self._disks.fail)

    async def _rot(self) -> bool:
        return await self._harm_disk(self._disks.rot)

    async def _harm_disk(self, harm: Callable[[str], Awaitable[None]]) -> bool:
        name = self._any()
        if name is None:
            return False
        with self._hands_on([name]):
            await harm(name)
        return True
