"""A cluster of real `trioraft node` processes on loopback, to be asked and waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from trioraft._proto.local.node_pb2 import StatusReply
from trioraft.client.status import LEADER, fetch_status
from trioraft.raft.errors import NoQuorumError, TrioraftError
from trioraft.rpc import GRPCError

from .processes import NodeProcesses

__all__ = ["CatchUpError", "LocalCluster", "open_cluster"]

_POLL = 0.02  # seconds between two looks at a status


class CatchUpError(TrioraftError):
    """A node did not get what the others have; carries what it said."""


class LocalCluster(NodeProcesses):
    """The nodes, and what they say of the group that they are."""

    async def status(self, node_id: str, *, timeout: float = 1.0) -> StatusReply:
        """What a node says about itself. Raises GRPCError when it does not answer."""
        return await fetch_status(self.nodes[node_id].address, timeout=timeout)

    async def leader(self) -> str | None:
        """The running node that says it leads, the one of the newest term if several do."""
        claims = []
        for node in self.nodes.values():
            if not node.running:
                continue
            try:
                group = (await self.status(node.id)).groups[0]
            except GRPCError:
                continue
            if group.role == LEADER:
                claims.append((int(group.term), node.id))
        return max(claims)[1] if claims else None

    async def wait_leader(self, *, timeout: float = 20.0, other_than: str | None = None) -> str:
        """Wait for a leader, or for a new one. Raises NoQuorumError."""
        with trio.move_on_after(timeout):
            while True:
                leader = await self.leader()
                if leader is not None and leader != other_than:
                    return leader
                await trio.sleep(_POLL)
        logs = "\n".join(f"{node_id}: {self.log_tail(node_id, 3)}" for node_id in self.nodes)
        raise NoQuorumError(f"no leader within {timeout:g} s. The ends of the nodes' logs:\n{logs}")

    async def applied_index(self, node_id: str) -> int:
        """The last entry that a node's state machine has seen. Raises GRPCError."""
        return (await self.status(node_id)).groups[0].applied_index

    async def commit_index(self, node_id: str) -> int:
        """The last entry that a node knows to be committed. Raises GRPCError."""
        return (await self.status(node_id)).groups[0].commit_index

    async def wait_applied(self, index: int, *, timeout: float = 30.0) -> None:
        """Wait until every running node has applied `index`. Raises CatchUpError."""
        deadline = trio.current_time() + timeout
        for node in self.nodes.values():
            while node.running and not await self._has_applied(node.id, index):
                if trio.current_time() > deadline:
                    raise CatchUpError(
                        f"{node.id} has not caught up with index {index} within {timeout:g} s:\n"
                        f"{self.log_tail(node.id)}"
                    )
                await trio.sleep(_POLL)

    async def _has_applied(self, node_id: str, index: int) -> bool:
        try:
            return await self.applied_index(node_id) >= index
        except GRPCError:
            return False  # it is still starting


@asynccontextmanager
async def open_cluster(
    root: Path,
    *,
    size: int = 3,
    wire: str = "ratis",
    name: str = "demo",
    options: Sequence[str] = (),
) -> AsyncIterator[LocalCluster]:
    """A running cluster with a leader, for the length of the block. Raises NodeStartError."""
    cluster = LocalCluster(root, size=size, wire=wire, name=name, options=options)
    try:
        await cluster.start()
        await cluster.wait_leader()
        yield cluster
    finally:
        await cluster.aclose()
