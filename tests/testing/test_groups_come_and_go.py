"""Groups that are opened, closed and deleted on running servers, while these crash and are cut off.

The seed chooses what happens and when. Each group has a writer; in the end its replicas agree, and
nothing that was acknowledged is lost or counted twice.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
import trio
from servers_kit import PEERS, Servers

from trioraft.host import RestSettings
from trioraft.node import RuntimeSettings
from trioraft.raft.errors import LeaderNotReadyError, NotLeaderError, TrioraftError
from trioraft.storage import StorageSettings
from trioraft.testing.network import SimNetwork
from trioraft.testing.scheduler import SeededRun, run_seeded

SETTINGS = RuntimeSettings(
    snapshot_after_entries=30, keep_entries=10, storage=StorageSettings(segment_bytes=2000)
)
REST = RestSettings(idle_after=0.5, check_interval=0.2, max_elections=4)
ACTIONS = 25
MOST_GROUPS = 6


class Writer:
    """Adds 1 to a group's counter again and again, as long as there is the group."""

    def __init__(self, servers: Servers, group: str, rng: random.Random) -> None:
        self.acknowledged = 0
        self.unknown = 0
        self._servers = servers
        self._group = group
        self._rng = rng

    async def run(self, stopping: trio.Event) -> None:
        while self._group in self._servers.groups and not stopping.is_set():
            await trio.sleep(self._rng.choice((0.01, 0.01, 0.1, 1.0)))
            leader = self._servers.leader(self._group)
            if leader is None:
                continue
            node = self._servers.up[leader].groups[self._group]
            try:
                with trio.fail_after(3):
                    await node.propose(b"1", forward=False)
            except (NotLeaderError, LeaderNotReadyError):
                continue  # nothing has happened
            except (TrioraftError, trio.TooSlowError):
                self.unknown += 1
            else:
                self.acknowledged += 1

    async def check(self) -> None:
        """Wait until every replica has the same value; it must be one that can be."""
        values: list[int] = []
        with trio.move_on_after(60):
            while len(values) < len(PEERS) or len(set(values)) > 1:
                self._servers.check_promises()
                await trio.sleep(0.1)
                replicas = self._servers.replicas(self._group)
                if any(node.leader is None for node in replicas):
                    continue
                values = [int(await node.query(b"", linearizable=False)) for node in replicas]
        assert len(set(values)) == 1, f"{self._group}: {values}"
        assert len(values) == len(PEERS), f"{self._group}: {values}"
        assert self.acknowledged <= values[0] <= self.acknowledged + self.unknown, self._group


class Operator:
    """Does what the seed chooses; `counts` says how often it was what."""

    def __init__(self, servers: Servers, nursery: trio.Nursery, rng: random.Random) -> None:
        self.writers: dict[str, Writer] = {}  # of the groups that there are
        self.hired: list[Writer] = []  # of all that there ever were
        self.counts: Counter[str] = Counter()
        self.stopping = trio.Event()
        self._servers = servers
        self._nursery = nursery
        self._rng = rng
        self._names = (f"g{number}" for number in itertools.count())

    def open(self) -> None:
        group = next(self._names)
        self._servers.open(group)
        writer = self.writers[group] = Writer(self._servers, group, self._rng)
        self.hired.append(writer)
        self._nursery.start_soon(writer.run, self.stopping)

    async def act(self) -> None:
        servers, rng = self._servers, self._rng
        action = rng.choice(("open", "bounce", "bounce", "remove", "crash", "cut", "wait"))
        up = sorted(servers.up)
        if action == "open" and len(servers.groups) < MOST_GROUPS:
            self.open()
        elif action == "bounce" and servers.groups:
            servers.bounce(rng.choice(up), rng.choice(list(servers.groups)), rng.uniform(0, 1))
        elif action == "remove" and len(servers.groups) > 1:
            group = rng.choice(list(servers.groups))
            servers.remove(group)
            del self.writers[group]
        elif action == "crash":
            name = rng.choice(up)
            servers.kill(name)
            await trio.sleep(rng.uniform(0, 2))
            await servers.start(name)
        elif action == "cut":
            name = rng.choice(up)
            servers.network.partition([f"host{name}"], [f"host{n}" for n in PEERS if n != name])
            await trio.sleep(rng.uniform(0, 3))
            servers.network.heal()
        else:
            return
        self.counts[action] += 1


async def story(run: SeededRun) -> tuple[Counter[str], list[int], str]:
    rng = run.rng("story")
    async with SimNetwork(run.rng("network")) as network, trio.open_nursery() as nursery:
        servers = Servers(run, network, nursery, rest=REST, settings=SETTINGS)
        try:
            for name in PEERS:
                await servers.start(name)
            async with trio.open_nursery() as writing:
                operator = Operator(servers, writing, rng)
                operator.open()
                for _ in range(ACTIONS):
                    await trio.sleep(rng.uniform(0, 1.5))
                    await operator.act()
                operator.stopping.set()
            for writer in operator.writers.values():
                await writer.check()
        finally:
            servers.check_promises()
        for name, server in servers.up.items():
            assert sorted(server.groups) == sorted(servers.groups), name
        nursery.cancel_scope.cancel()
    return operator.counts, [w.acknowledged for w in operator.hired], run.trace.hash()


@pytest.mark.parametrize("seed", range(6))
def test_groups_come_and_go(seed: int) -> None:
    counts, acknowledged, _ = run_seeded(story, seed)
    assert sum(counts.values()) > ACTIONS // 2
    assert sum(acknowledged) > 50


def test_the_same_seed_gives_the_same_story() -> None:
    assert run_seeded(story, 3) == run_seeded(story, 3)
