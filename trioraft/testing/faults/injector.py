"""Does what the seed chooses, again and again, and repairs everything in the end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

from trioraft.testing.cluster import SimCluster
from trioraft.testing.trace import Trace

from .disks import DiskFaults
from .links import LinkFaults
from .members import MemberFaults
from .operators import Operators
from .processes import ProcessFaults
from .victims import Victims

__all__ = ["FAULTS", "FaultInjector", "choose_faults"]

FAULTS = (
    "leader crash", "crash", "power cut", "restart", "leader isolated", "link cut",
    "connection reset", "slow link", "pause", "leader pause", "transfer", "snapshot",
    "membership", "disk full", "disk error", "rot", "election pause", "members set",
    "move", "wipe",
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
        self._victims = victims = Victims(cluster, rng)
        self._processes = ProcessFaults(cluster, victims, rng)
        self._links = LinkFaults(cluster, rng, trace)
        self._members = MemberFaults(cluster, victims, rng, trace)
        self._operators = Operators(cluster, victims, rng, trace)
        self._disks = DiskFaults(cluster, victims, rng, trace)
        self.counts: Counter[str] = Counter()
        unknown = [kind for kind in kinds if kind not in FAULTS]
        if unknown:
            raise ValueError(f"faults: {unknown[0]!r} is none of {', '.join(FAULTS)}")
        self.kinds = tuple(kinds)

    async def run(self) -> None:
        """Do harm until cancelled."""
        actions = self._actions()
        chosen = [(kind, actions[kind]) for kind in self.kinds]
        if not chosen:
            return
        async with trio.open_nursery() as nursery:
            for _ in range(self._rng.choice((1, 1, 2))):
                nursery.start_soon(self._harm, chosen)

    def _actions(self) -> dict[str, Callable[[], Awaitable[bool]]]:
        processes, links = self._processes, self._links
        operators, disks, members = self._operators, self._disks, self._members
        return {
            "leader crash": processes.crash_leader,
            "crash": processes.crash_any,
            "power cut": processes.power_cut,
            "restart": processes.restart,
            "leader isolated": links.isolate_leader,
            "link cut": links.cut_link,
            "connection reset": links.reset_connections,
            "slow link": links.slow_link,
            "pause": processes.pause_any,
            "leader pause": processes.pause_leader,
            "transfer": operators.transfer,
            "snapshot": operators.snapshot,
            "membership": members.change,
            "disk full": disks.fill,
            "disk error": disks.fail,
            "rot": disks.rot,
            "election pause": operators.pause_elections,
            "members set": members.set,
            "move": members.move,
            "wipe": members.wipe,
        }

    async def _harm(self, chosen: list[tuple[str, Callable[[], Awaitable[bool]]]]) -> None:
        while True:
            await trio.sleep(self._rng.uniform(0.1, 0.8))
            kind, action = self._rng.choice(chosen)
            if await action():
                self.counts[kind] += 1

    async def repair(self) -> None:
        """End all faults and start every node that is down."""
        cluster = self._cluster
        self._victims.release()
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
        await self._operators.resume_elections()

    async def amend(self) -> bool:
        """Tell the leader who has moved. False: it may not know everything yet, so try again."""
        return await self._members.tell_addresses()
