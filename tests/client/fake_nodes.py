"""Nodes without Raft, that answer a client as a test tells them to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trioraft._proto.local.node_grpc import NodeServiceBase
from trioraft._proto.local.node_pb2 import (
    GroupStatus,
    OpenSessionReply,
    ProposeReply,
    ProposeRequest,
    QueryReply,
    StatusReply,
    WatchReply,
    WatchRequest,
)
from trioraft.client import RetryPolicy
from trioraft.protocols.local import status_of
from trioraft.raft.errors import (
    TrioraftError,
)
from trioraft.rpc import GRPCError, Status, serve

Answer = Callable[[ProposeRequest], Awaitable[bytes]]
FAST = RetryPolicy(timeout=3.0, attempt_timeout=0.6, pause_min=0.01, pause_max=0.05)


class FakeNode(NodeServiceBase):
    """A node that answers what it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.role = "follower"
        self.term = 1
        self.proposals: list[ProposeRequest] = []
        self.queries: list[bytes] = []
        self.errors: list[Exception] = []  # for the next proposals, in order
        self.silent = False
        self.sessions = 0
        self.watches: list[WatchRequest] = []
        self.leads_other_group = False

    async def Propose(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.proposals.append(request)
        if self.silent:
            await trio.sleep_forever()
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, TrioraftError):
                status, trailers = status_of(error)
                await stream.send_trailing_metadata(
                    status=status, status_message=str(error), metadata=trailers
                )
                return
            raise error
        await stream.send_message(
            ProposeReply(
                data=f"{self.name}:".encode() + request.data, index=len(self.proposals) + 40
            )
        )

    async def Query(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.queries.append(request.data)
        stale = b"stale %d:" % (request.min_entries - 1) if request.stale else b""
        await stream.send_message(QueryReply(data=stale + request.data))

    async def OpenSession(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        await stream.recv_message()
        self.sessions += 1
        await stream.send_message(OpenSessionReply(birth=7 + self.sessions))

    async def Watch(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        request = await stream.recv_message()
        self.watches.append(request)
        if request.index > 10:
            await trio.sleep_forever()
        await stream.send_message(WatchReply(index=10))

    async def ReadIndex(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        raise GRPCError(Status.UNIMPLEMENTED)

    async def Status(self, stream) -> None:  # type: ignore[no-untyped-def, override]
        await stream.recv_message()
        if self.silent:
            await trio.sleep_forever()
        groups = [GroupStatus(group_id=b"m" * 16, role=self.role, term=str(self.term))]
        if self.leads_other_group:
            groups.append(GroupStatus(group_id=b"o" * 16, role="leader", term="99"))
        await stream.send_message(StatusReply(node_id=self.name, groups=groups))


class Cluster:
    """Three fake nodes on loopback that can be taken away and brought back."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nodes = [FakeNode(name) for name in "abc"]
        self.targets: list[str] = []
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    async def start(self) -> None:
        for node in self.nodes:
            scope = trio.CancelScope()
            self._scopes.append(scope)
            bound = await self._nursery.start(self._serve, node, scope)
            self.targets.append(f"127.0.0.1:{bound[0][1]}")

    async def _serve(
        self, node: FakeNode, scope: trio.CancelScope, *, task_status: trio.TaskStatus[object]
    ) -> None:
        with scope:
            await serve([node], port=0, task_status=task_status)

    def take_away(self, position: int) -> None:
        self._scopes[position].cancel()
