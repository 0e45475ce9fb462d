"""Complete nodes in one Trio run: rpc, dialect, core, storage and machine, on simulated hosts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import trio

from trioraft.host import Node, open_node
from trioraft.node import RuntimeSettings, StateMachine
from trioraft.raft.config import RaftConfig
from trioraft.raft.types import Role
from trioraft.rpc import Service

from .disk import SimDisk
from .environment import SimEnvironment
from .network import SimNetwork
from .scheduler import SeededRun

__all__ = ["SimCluster"]

logger = logging.getLogger(__name__)

_PORT = 7101


class SimCluster:
    """Nodes that can be killed, restarted and cut off. Use as `async with SimCluster(...)`.

    new_machine: makes the state machine of a node, at every start anew.
    services: more services of a node, as `open_node` takes them.
    size: number of nodes; they are called 1, 2, 3..., which every dialect can express.

    A node that stops of its own accord, by a failed group or an error while starting, is a
    failure of the run: the error leaves the block.
    """

    def __init__(
        self,
        run: SeededRun,
        *,
        new_machine: Callable[[], StateMachine],
        services: Callable[[Node], Sequence[Service]] | None = None,
        size: int = 3,
        wire: str = "ratis",
        config: RaftConfig | None = None,
        settings: RuntimeSettings | None = None,
    ) -> None:
        self._run = run
        self._new_machine = new_machine
        self._services = services
        self._wire = wire
        self._config = config or RaftConfig(
            election_timeout_min=0.2, election_timeout_max=0.4, heartbeat_interval=0.05
        )
        self._settings = settings or RuntimeSettings()
        self.names = [str(number + 1) for number in range(size)]
        self.addresses = {name: f"node{name}:{_PORT}" for name in self.names}
        self.network = SimNetwork(run.rng("network"), trace=run.trace)
        self.disks = {name: SimDisk() for name in self.names}
        self.nodes: dict[str, Node] = {}
        self.machines: dict[str, StateMachine] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._boots = 0
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        await self.network.__aenter__()
        self._nursery = await self._nursery_manager.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._nursery.cancel_scope.cancel()
        try:
            return await self._nursery_manager.__aexit__(exc_type, exc, traceback)
        finally:
            await self.network.__aexit__(exc_type, exc, traceback)

    def host_of(self, name: str) -> str:
        """The name of a node's machine in the network."""
        return f"node{name}"

    async def start(self, name: str) -> Node:
        """Boot a node on what its disk holds; returns once it serves."""
        node: Node = await self._nursery.start(self._live, name)
        return node

    def kill(self, name: str) -> None:
        """Pull the plug: connections break, and the disk keeps what was synced, and of the rest

        what the seed says. Takes effect at once; `start` boots the node again.
        """
        self._run.trace.record(f"crash {name}")
        self.network.kill_host(self.host_of(name))
        self.disks[name].crash(self._run.rng(f"crash/{self._boots}"))
        self._scopes.pop(name).cancel()
        del self.nodes[name]

    def leader(self) -> str | None:
        """The running node that leads in the highest term, if any does."""
        leaders = [n for n in self.nodes if self.nodes[n].role is Role.LEADER]
        return max(leaders, key=lambda n: self.nodes[n].term, default=None)

    async def _live(self, name: str, *, task_status: trio.TaskStatus[Node]) -> None:
        self._boots += 1
        rng = self._run.rng(f"boot/{self._boots}/{name}")
        machine = self._new_machine()
        with trio.CancelScope() as scope:
            self._scopes[name] = scope
            async with open_node(
                id=name,
                peers=self.addresses,
                machine=machine,
                data="/data",
                wire=self._wire,
                services=self._services,
                config=self._config,
                settings=self._settings,
                environment=SimEnvironment(self.host_of(name), self.network, self.disks[name], rng),
            ) as node:
                self.nodes[name] = node
                self.machines[name] = machine
                self._run.trace.record(f"start {name}")
                task_status.started(node)
                await self._report_roles(name, node)
                await node.wait_stopped()

    async def _report_roles(self, name: str, node: Node) -> None:
        """Put every change of role, term and leader into the trace."""
        while node.failure is None:
            self._run.trace.record(f"{name} {node.role.name} {node.term} {node.leader}")
            await node.wait_change()
