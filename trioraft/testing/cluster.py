"""Complete nodes in one Trio run: rpc, dialect, core, storage and machine, on simulated hosts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import trio

from trioraft.host import LinkSettings as HostLinkSettings
from trioraft.host import Node, RestSettings, open_node
from trioraft.node import RuntimeSettings, StateMachine
from trioraft.raft import RaftConfig
from trioraft.raft.errors import GroupStoppedError
from trioraft.raft.types import Role
from trioraft.rpc import Service

from .applied import AppliedModel, ObservedMachine
from .disk import SimDisk
from .environment import SimEnvironment
from .invariants import GroupInvariants
from .network import LinkSettings, SimNetwork
from .processes import Processes
from .scheduler import SeededRun
from .watching import PromiseWatch

__all__ = ["QUICK_ELECTIONS", "SimCluster"]

logger = logging.getLogger(__name__)

_PORT = 7101

QUICK_ELECTIONS = RaftConfig(
    election_timeout_min=0.2, election_timeout_max=0.4, heartbeat_interval=0.05
)


class SimCluster:
    """Nodes that can be killed, stopped, restarted and cut off: `async with SimCluster(...)`.

    new_machine: makes the state machine of a node, at every start anew.
    services: more services of a node, as `open_node` takes them.
    size: number of nodes; they are called 1, 2, 3..., which every dialect can express.
    spares: further nodes, that wait to be added to the group.
    priorities: of founders by name, as `open_node` takes them.
    links: how the network behaves between any two machines.
    clock_drift: how much faster than virtual time a machine's clock may run; each draws its own.
    host_links, rest: let the group rest when it is idle, as `open_node` takes them.

    Raft's promises are checked after every scheduler pass, over all nodes (`invariants`), and so
    is what their machines are made to do (`applied`). A promise that breaks ends the run: the
    error leaves the block. So does a node that stops of its own accord, by a failed group or
    an error while starting, unless it is `fragile`.

    nodes: those that run. machines: their state machines. disks: of all nodes, by name.
    addresses: where nodes listen, or will.
    fragile: nodes that may stop of their own accord, because somebody harms their disks.
    """

    def __init__(
        self,
        run: SeededRun,
        *,
        new_machine: Callable[[], StateMachine],
        services: Callable[[Node], Sequence[Service]] | None = None,
        size: int = 3,
        spares: int = 0,
        priorities: Mapping[str, int] | None = None,
        wire: str = "ratis",
        config: RaftConfig | None = None,
        settings: RuntimeSettings | None = None,
        links: LinkSettings | None = None,
        clock_drift: float = 0.0,
        host_links: HostLinkSettings | None = None,
        rest: RestSettings | None = None,
    ) -> None:
        self._run = run
        self._new_machine = new_machine
        self._services = services
        self._wire = wire
        self._config = config or QUICK_ELECTIONS
        self._settings = settings or RuntimeSettings()
        self._host_links = host_links
        self._rest = rest
        self.size = size
        self.names = [str(number + 1) for number in range(size + spares)]
        self.addresses = {name: f"node{name}:{_PORT}" for name in self.names}
        self.priorities = dict(priorities or {})
        self._founders = {name: self.addresses[name] for name in self.names[:size]}
        self._founders_left = set(self._founders)  # whose disks were never replaced
        self.network = SimNetwork(run.rng("network"), links, trace=run.trace)
        self.disks = {name: SimDisk() for name in self.names}
        self.processes = Processes()
        self.invariants = GroupInvariants()
        self.applied = AppliedModel()
        self.fragile: set[str] = set()
        clocks = run.rng("clocks")
        self.clock_rates = {name: 1.0 + clock_drift * clocks.random() for name in self.names}
        self.nodes: dict[str, Node] = {}
        self.machines: dict[str, StateMachine] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._ended: dict[str, trio.Event] = {}
        self._boots = 0
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        await self.network.__aenter__()
        self._nursery = await self._nursery_manager.__aenter__()
        self._watch = PromiseWatch(self._nursery.cancel_scope.cancel)
        trio.lowlevel.add_instrument(self._watch)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self.processes.resume_all()
        self._nursery.cancel_scope.cancel()
        try:
            return await self._nursery_manager.__aexit__(exc_type, exc, traceback)
        finally:
            trio.lowlevel.remove_instrument(self._watch)
            await self.network.__aexit__(exc_type, exc, traceback)
            self._watch.check()

    @property
    def rests(self) -> int:
        """How often a node went to rest."""
        return self._watch.rests

    def host_of(self, name: str) -> str:
        """The name of a node's machine in the network."""
        return f"node{name}"

    async def start(self, name: str) -> Node:
        """Boot a node on what its disk holds; returns once it serves.

        Raises what `open_node` raises when a fragile node cannot start.
        """
        node: Node = await self._nursery.start(self._live, name)
        return node

    def kill(self, name: str) -> None:
        """Pull the plug: connections break, and the disk keeps what was synced, and of the rest

        what the seed says. Takes effect at once; `start` boots the node again.
        """
        self._run.trace.record(f"crash {name}")
        self.network.kill_host(self.host_of(name))
        self.disks[name].crash(self._run.rng(f"crash/{self._boots}"))
        self._scopes[name].cancel()
        self._gone(name)
        self.processes.resume(self.host_of(name))

    async def stop(self, name: str) -> None:
        """End a node as an operator does: its storage is closed, nothing is lost."""
        self._run.trace.record(f"stop {name}")
        self.network.kill_host(self.host_of(name))
        ended = self._ended[name]
        self._scopes[name].cancel()
        self._gone(name)
        await ended.wait()

    async def restart(self, name: str) -> None:
        """Start a node that is down; kill it first if it runs. It is fragile no longer."""
        if name in self.nodes or not self._ended[name].is_set():
            self.kill(name)
        await self.start(name)
        self.fragile.discard(name)

    def move(self, name: str, address: str | None = None) -> None:
        """Give a node that is down another address from its next start on: a new one, or this."""
        host, port = self.addresses[name].split(":")
        self.addresses[name] = address or f"{host}:{int(port) + 1}"
        self._run.trace.record(f"move {name} to {self.addresses[name]}")

    def wipe(self, name: str) -> None:
        """Pull the plug and put an empty disk in: a new node that waits to be added.

        It must have been removed from the group before.
        """
        self.kill(name)
        self._run.trace.record(f"wipe {name}")
        self.disks[name] = SimDisk()
        self.invariants.forget(name)
        self._founders_left.discard(name)

    def pause(self, name: str) -> None:
        """The node's process stands still until `resume`."""
        self._run.trace.record(f"pause {name}")
        self.processes.stop(self.host_of(name))

    def resume(self, name: str) -> None:
        """The node's process goes on."""
        if self.processes.is_stopped(self.host_of(name)):
            self._run.trace.record(f"resume {name}")
            self.processes.resume(self.host_of(name))

    def leader(self) -> str | None:
        """The running node that leads in the highest term, if any does."""
        leaders = [n for n in self.nodes if self.nodes[n].role is Role.LEADER]
        return max(leaders, key=lambda n: self.nodes[n].term, default=None)

    def members(self) -> list[str]:
        """The members of the group, as its leader sees them; none without a settled leader."""
        leader = self.leader()
        if leader is None:
            return []
        configuration = self.nodes[leader].configuration
        if configuration.is_joint or not configuration.is_voter(leader):
            return []
        return [member.id for member in configuration.members()]

    async def _live(self, name: str, *, task_status: trio.TaskStatus[Node]) -> None:
        self._boots += 1
        rng = self._run.rng(f"boot/{self._boots}/{name}")
        machine = self._new_machine()
        founds = name in self._founders_left
        ended = self._ended[name] = trio.Event()
        environment = SimEnvironment(
            self.host_of(name),
            self.network,
            self.disks[name],
            rng,
            clock_rate=self.clock_rates[name],
        )
        try:
            with trio.CancelScope() as scope, self.processes.belongs(self.host_of(name)):
                self._scopes[name] = scope
                async with open_node(
                    id=name,
                    peers=self._founders if founds else None,
                    priorities=self.priorities if founds else None,
                    join=not founds,
                    listen=self.addresses[name],
                    machine=ObservedMachine(machine, self.applied, name),
                    data="/data",
                    wire=self._wire,
                    services=self._services,
                    config=self._config,
                    settings=self._settings,
                    links=self._host_links,
                    rest=self._rest,
                    environment=environment,
                ) as node:
                    self._run.trace.record(f"start {name}")
                    self._watch.begin(name, node.group, self.invariants)
                    self.nodes[name] = node
                    self.machines[name] = machine
                    task_status.started(node)
                    await self._attend(name, node)
        finally:
            ended.set()

    async def _attend(self, name: str, node: Node) -> None:
        await self._report_roles(name, node)
        try:
            await node.wait_stopped()
        except GroupStoppedError as error:
            if name not in self.fragile or self.nodes.get(name) is not node:
                raise
            self._run.trace.record(f"{name} stopped: {type(error.__cause__).__name__}")
            self._gone(name)

    def _gone(self, name: str) -> None:
        self.nodes.pop(name, None)
        self._watch.end(name)

    async def _report_roles(self, name: str, node: Node) -> None:
        """Put every change of role, term and leader into the trace."""
        while node.failure is None:
            self._run.trace.record(f"{name} {node.role.name} {node.term} {node.leader}")
            await node.wait_change()
