"""The faults, one at a time, each healed before the next; all from a seed but for timing."""

from __future__ import annotations

import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio
from torture_cluster import MachineCluster

from trioraft.raft.errors import TrioraftError

__all__ = ["Fault", "Faults"]


@dataclass(frozen=True)
class Fault:
    """What was done, and when."""

    name: str
    victim: str
    start: float
    end: float


class Faults:
    """Plays a shuffled deck of all faults again and again."""

    def __init__(
        self, cluster: MachineCluster, rng: random.Random, tell: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._rng = rng
        self._tell = tell
        self.done: list[Fault] = []
        self._deck: dict[str, Callable[[str], Awaitable[None]]] = {
            "cable pulled": self._isolated,
            "one-way: sends are lost": self._mute,
            "one-way: hears nothing": self._deaf,
            "flapping cable": self._flapping,
            "two nodes apart": self._pair,
            "SIGKILL": self._killed,
            "SIGKILL of all": self._all_killed,
            "SIGSTOP": self._paused,
            "disk full": self._disk_full,
            "member replaced": self._replaced,
        }

    async def run(self, seconds: float) -> None:
        """Until the time is over; then everything is healed."""
        end = trio.current_time() + seconds
        while True:
            names = list(self._deck)
            self._rng.shuffle(names)
            for name in names:
                await trio.sleep(self._rng.uniform(0.5, 2.0))
                if trio.current_time() >= end:
                    await self._cluster.heal()
                    return
                await self._play(name)

    async def _play(self, name: str) -> None:
        leader = await self._cluster.wait_leader(timeout=60)
        others = [node_id for node_id in self._cluster.nodes if node_id != leader]
        victim = leader if self._rng.random() < 0.6 else self._rng.choice(others)
        self._tell(f"{name}: {victim}{' (leader)' if victim == leader else ''}")
        start = trio.current_time()
        await self._deck[name](victim)
        self.done.append(Fault(name, victim, start, trio.current_time()))
        await self._cluster.heal()

    async def _last(self, shortest: float = 1.5, longest: float = 3.5) -> None:
        await trio.sleep(self._rng.uniform(shortest, longest))

    def _others(self, victim: str) -> list[str]:
        return [node_id for node_id in self._cluster.nodes if node_id != victim]

    async def _isolated(self, victim: str) -> None:
        await self._cluster.machine(victim).plug(False)
        await self._last()

    async def _mute(self, victim: str) -> None:
        for other in self._others(victim):
            await self._cluster.machine(victim).cut_to(self._cluster.machine(other))
        await self._last()

    async def _deaf(self, victim: str) -> None:
        for other in self._others(victim):
            await self._cluster.machine(other).cut_to(self._cluster.machine(victim))
        await self._last()

    async def _flapping(self, victim: str) -> None:
        for _ in range(8):
            await self._cluster.machine(victim).plug(False)
            await self._last(0.05, 0.4)
            await self._cluster.machine(victim).plug(True)
            await self._last(0.05, 0.4)

    async def _pair(self, victim: str) -> None:
        other = self._cluster.machine(self._rng.choice(self._others(victim)))
        await self._cluster.machine(victim).cut_to(other)
        await other.cut_to(self._cluster.machine(victim))
        await self._last()

    async def _killed(self, victim: str) -> None:
        await self._cluster.kill(victim)
        await self._last(0.2, 2.5)
        await self._cluster.start(victim)

    async def _all_killed(self, victim: str) -> None:
        for node_id in self._cluster.nodes:
            await self._cluster.kill(node_id)
        await self._cluster.start()

    async def _paused(self, victim: str) -> None:
        self._cluster.signal(victim, signal.SIGSTOP)
        await self._last()
        self._cluster.signal(victim, signal.SIGCONT)
        await self._last(0.5, 1.0)

    async def _disk_full(self, victim: str) -> None:
        # It may stop by itself then: better than to go on without a log.
        self._cluster.nodes[victim].told_to_end = True
        self._cluster.fill_disk(victim)
        try:
            await self._last(3.0, 5.0)
        finally:
            self._cluster.empty_disk(victim)
        if not await self._cluster.restart_if_ended(victim):
            # Still there, with a failed group or none: only a new start is sure to go on.
            await self._cluster.kill(victim)
            await self._cluster.start(victim)

    async def _replaced(self, victim: str) -> None:
        """A member leaves, loses its disk, and comes back as a new one."""
        cluster = self._cluster
        await self._admin("remove", victim)
        await cluster.kill(victim)
        await cluster.begin_anew(victim)
        await self._admin("add", f"{victim}={cluster.nodes[victim].address}")

    async def _admin(self, *words: str) -> None:
        """`trioraft admin`, as an operator would. Raises TrioraftError with what it said."""
        where = ["--endpoints", self._cluster.endpoints, "--timeout", "30"]
        python = self._cluster.command("n1" if "n1" in self._cluster.nodes else "1")
        program = python[python.index("-P") - 1 : python.index("node")]
        done = await trio.run_process(
            [*program, "admin", *words, *where],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).decode().strip()
            raise TrioraftError(f"trioraft admin {' '.join(words)}: {said}")
