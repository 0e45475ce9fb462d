"""What the tests of membership share: nodes in one process that come, go and are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import trioraft
from trioraft import Command, Node, Role, SnapshotSink, SnapshotSource, StateMachine
from trioraft.cli.demo.ports import free_addresses
from trioraft.node import RuntimeSettings
from trioraft.raft.errors import (
    NoQuorumError,
    ProposalDroppedError,
)

FAST = trioraft.RaftConfig(
    election_timeout_min=0.6,
    election_timeout_max=1.2,
    heartbeat_interval=0.05,
    staging_timeout=1.0,
)


class Journal(StateMachine):
    """Remembers what was written, and answers everything with all of it."""

    def __init__(self) -> None:
        self.words: list[bytes] = []

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.words += [command.data for command in commands]
        return [b"ok"] * len(commands)

    async def query(self, request: bytes) -> bytes:
        return b" ".join(self.words)

    async def snapshot(self, sink: SnapshotSink) -> None:
        await sink.write(b" ".join(self.words))

    async def restore(self, source: SnapshotSource) -> None:
        state = b""
        while part := await source.read():
            state += part
        self.words = state.split()


def free_address() -> str:
    return free_addresses(1)[0]


class Cluster:
    """Nodes by name, each in a scope of its own: `stop` ends one."""

    def __init__(
        self, nursery: trio.Nursery, directory: Path, wire: str, settings: RuntimeSettings
    ) -> None:
        self._nursery = nursery
        self._directory = directory
        self._wire = wire
        self._scopes: dict[str, trio.CancelScope] = {}
        self._stopped: dict[str, trio.Event] = {}
        self.addresses: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        self.settings = settings

    def address(self, name: str) -> str:
        return self.addresses.setdefault(name, free_address())

    async def found(self, *names: str) -> None:
        peers = {name: self.address(name) for name in names}
        for name in names:
            await self._nursery.start(self._live, name, peers)

    async def join(self, name: str) -> Node:
        """Start a node that waits to be added."""
        self.address(name)
        node: Node = await self._nursery.start(self._live, name, None)
        return node

    async def _live(
        self,
        name: str,
        peers: dict[str, str] | None,
        *,
        task_status: trio.TaskStatus[Node],
    ) -> None:
        stopped = self._stopped[name] = trio.Event()
        with trio.CancelScope() as scope:
            self._scopes[name] = scope
            async with trioraft.open_node(
                id=name,
                peers=peers,
                join=peers is None,
                listen=self.addresses[name],
                machine=Journal(),
                data=self._directory / name,
                wire=self._wire,
                config=FAST,
                settings=self.settings,
            ) as node:
                self.nodes[name] = node
                task_status.started(node)
                await node.wait_stopped()
        stopped.set()

    async def stop(self, name: str) -> None:
        del self.nodes[name]
        self._scopes[name].cancel()
        await self._stopped[name].wait()

    async def leader(self) -> Node:
        while True:
            for node in self.nodes.values():
                if node.role is Role.LEADER and not node.removed:
                    return node
            await trio.sleep(0.01)

    async def agree(self, voters: str, learners: str = "") -> None:
        """Wait until every member that runs knows these members, and nobody else is one."""
        for name in voters + learners:
            if name in self.nodes:
                await until(lambda name=name: self._members(name) == (voters, learners))

    def _members(self, name: str) -> tuple[str, str]:
        now = self.nodes[name].configuration
        if now.is_joint:
            return "joint", ""
        return (
            "".join(sorted(m.id for m in now.voters)),
            "".join(sorted(m.id for m in now.learners)),
        )


async def until(condition: object) -> None:
    assert callable(condition)
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


@asynccontextmanager
async def cluster(
    tmp_path: Path, *names: str, wire: str = "ratis", settings: RuntimeSettings | None = None
) -> AsyncIterator[Cluster]:
    async with trio.open_nursery() as nursery:
        made = Cluster(nursery, tmp_path, wire, settings or RuntimeSettings())
        await made.found(*names)
        with trio.fail_after(60):
            await made.leader()
            yield made
        nursery.cancel_scope.cancel()


async def write(node: Node, word: bytes) -> None:
    """Until it is acknowledged; it may be there twice then."""
    while True:
        try:
            await node.propose(word)
        except (ProposalDroppedError, NoQuorumError):
            await trio.sleep(0.01)
        else:
            return
