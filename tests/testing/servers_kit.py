"""Simulated servers of many groups, which an operator opens and closes, and which crash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import trio

from trioraft import Role
from trioraft.host import Node, RestSettings, Server, open_server
from trioraft.machines.counter import CounterMachine
from trioraft.node import RuntimeSettings
from trioraft.testing.disk import SimDisk
from trioraft.testing.environment import SimEnvironment
from trioraft.testing.invariants import GroupInvariants
from trioraft.testing.network import SimNetwork
from trioraft.testing.scheduler import SeededRun
from trioraft.testing.watching import PromiseWatch

PEERS = {name: f"host{name}:7101" for name in ("1", "2", "3")}

Order = Callable[[Server], Awaitable[None]]


class Servers:
    """Three servers. `groups` are open on each whenever it starts; `order` changes them meanwhile.

    Raft's promises are checked between scheduler passes, for each group over its replicas, from
    the first replica that was opened on: `check_promises` raises what was broken.
    """

    def __init__(
        self,
        run: SeededRun,
        network: SimNetwork,
        nursery: trio.Nursery,
        groups: Iterable[str] = (),
        *,
        rest: RestSettings | None = None,
        settings: RuntimeSettings | None = None,
    ) -> None:
        self.run = run
        self.network = network
        self.nursery = nursery
        self.groups = dict.fromkeys(groups)
        self.disks = {name: SimDisk() for name in PEERS}
        self.up: dict[str, Server] = {}
        self.boots = 0
        self._rest = rest
        self._settings = settings
        self._scopes: dict[str, trio.CancelScope] = {}
        self._orders: dict[str, trio.MemorySendChannel[Order]] = {}
        self._invariants: dict[str, GroupInvariants] = {}
        self._watch = PromiseWatch(nursery.cancel_scope.cancel)
        trio.lowlevel.add_instrument(self._watch)

    async def start(self, name: str) -> None:
        await self.nursery.start(self._live, name)

    def kill(self, name: str) -> None:
        self.run.trace.record(f"crash {name}")
        self.network.kill_host(f"host{name}")
        self.disks[name].crash(self.run.rng(f"crash/{self.boots}"))
        self._scopes[name].cancel()
        del self.up[name], self._orders[name]
        for group in self._invariants:
            self._watch.end((name, group))

    def open(self, group: str) -> None:
        """Have a new group on every server, and on those that are down when they start."""
        self.groups[group] = None
        for name in self._orders:
            self.order(name, lambda server: self._open(server, group))

    def bounce(self, name: str, group: str, pause: float) -> None:
        """Close one server's replica, and open it again after `pause` seconds."""

        async def work(server: Server) -> None:
            await self._close(server, group)
            await trio.sleep(pause)
            if group in self.groups:
                await self._open(server, group)

        self.order(name, work)

    def remove(self, group: str) -> None:
        """Delete a group on every server that is up. Its name must not be used again."""
        del self.groups[group]
        for name in self._orders:
            self.order(name, lambda server: self._close(server, group, delete=True))

    def order(self, name: str, work: Order) -> None:
        """Have `work` done by a task of the server, in the order of the calls; lost if it dies."""
        self._orders[name].send_nowait(work)

    def leader(self, group: str) -> str | None:
        nodes = {name: server.groups.get(group) for name, server in self.up.items()}
        leading = {n: node.term for n, node in nodes.items() if node and node.role is Role.LEADER}
        return max(leading, key=lambda name: leading[name], default=None)

    def replicas(self, group: str) -> list[Node]:
        return [s.groups[group] for s in self.up.values() if group in s.groups]

    def check_promises(self) -> None:
        self._watch.check()

    # -- inside

    async def _live(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        self.boots += 1
        rng = self.run.rng(f"boot/{self.boots}")
        environment = SimEnvironment(f"host{name}", self.network, self.disks[name], rng)
        self._orders[name], orders = trio.open_memory_channel[Order](1000)
        with trio.CancelScope() as self._scopes[name]:
            async with open_server(
                id=name, listen=PEERS[name], data="/data", environment=environment, rest=self._rest
            ) as server:
                for group in list(self.groups):
                    await self._open(server, group)
                self.up[name] = server
                task_status.started()
                async for work in orders:
                    await work(server)

    async def _open(self, server: Server, group: str) -> None:
        if group in server.groups or group not in self.groups:
            return  # it was opened at the start, or has been removed meanwhile
        node = await server.open_group(
            group, CounterMachine(), peers=PEERS, settings=self._settings
        )
        self.run.trace.record(f"{server.id} opens {group}")
        invariants = self._invariants.setdefault(group, GroupInvariants())
        self._watch.begin((server.id, group), node.group, invariants)

    async def _close(self, server: Server, group: str, *, delete: bool = False) -> None:
        if group not in server.groups:
            return
        self.run.trace.record(f"{server.id} {'deletes' if delete else 'closes'} {group}")
        self._watch.end((server.id, group))
        await server.close_group(group, delete=delete)
