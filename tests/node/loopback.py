"""A cluster of groups in one Trio run, joined by function calls instead of a wire."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Never

import trio

from trioraft.node import Command, Group, PeerUnreachableError, RuntimeSettings, StateMachine
from trioraft.node.machine import SnapshotSink, SnapshotSource
from trioraft.node.peers import SnapshotChunk, SnapshotChunks
from trioraft.node.snapshots.fetch import SnapshotFetchError
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import GroupStoppedError, OverloadedError
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import Configuration, Member, Role
from trioraft.storage import MemoryStorage


class Journal(StateMachine):
    """Remembers every command; replies with its number. `boom` breaks it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.busy = False
        self.restored = 0
        self.restoring = False
        self.hold: trio.Event | None = None  # `apply` waits for it

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        assert not self.busy, "called concurrently with itself"
        self.busy = True
        await trio.lowlevel.checkpoint()
        if self.hold is not None:
            await self.hold.wait()
        replies = []
        for command in commands:
            if command.data == b"boom":
                raise RuntimeError("the machine broke")
            self.seen.append(command.data)
            replies.append(b"%d" % len(self.seen))
        self.busy = False
        return replies

    async def query(self, request: bytes) -> bytes:
        assert not self.busy, "called concurrently with itself"
        if request == b"bad":
            raise ValueError("no such question")
        return b",".join(self.seen[-3:])

    async def snapshot(self, sink: SnapshotSink) -> None:
        assert not self.busy
        for data in self.seen:
            await sink.write(len(data).to_bytes(4, "big") + data)

    async def restore(self, source: SnapshotSource) -> None:
        self.restoring = True
        await trio.sleep(0.2)
        self.restoring = False
        whole = b""
        while chunk := await source.read():
            whole += chunk
        self.seen = []
        self.restored += 1
        while whole:
            size = int.from_bytes(whole[:4], "big")
            self.seen.append(whole[4 : 4 + size])
            whole = whole[4 + size :]


class LoopStream:
    def __init__(self, transport: LoopTransport) -> None:
        self._transport = transport
        self._send, self._receive = trio.open_memory_channel[AppendReply](math.inf)

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        for request in requests:
            assert self.send_nowait(request)
        await trio.lowlevel.checkpoint()

    def send_nowait(self, request: AppendRequest) -> bool:
        group = self._transport.target()
        try:
            group.inbound.handle_append(request, self._send.send_nowait)
        except GroupStoppedError as error:
            raise PeerUnreachableError(str(error)) from error
        group.inbound.settle()
        return True

    def flush(self) -> None:
        """`send_nowait` has sent already."""

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        while True:
            reply = await self._receive.receive()
            self._transport.target()
            take([reply])


class LoopTransport:
    """Reaches a peer while `cluster.connected(me, peer)`."""

    def __init__(self, cluster: LoopCluster, me: str, peer: str) -> None:
        self._cluster, self._me, self._peer = cluster, me, peer

    def target(self) -> Group:
        group = self._cluster.groups.get(self._peer)
        if group is None or (self._me, self._peer) in self._cluster.cut:
            raise PeerUnreachableError(f"{self._peer} is away")
        return group

    async def request_vote(self, request: VoteRequest) -> VoteReply:
        await trio.sleep(0.001)
        return await self.target().inbound.handle_vote(request)

    @asynccontextmanager
    async def open_append_stream(self, *, heartbeat: bool) -> AsyncIterator[LoopStream]:
        await trio.sleep(0.001)
        self.target()
        yield LoopStream(self)

    async def send_snapshot(
        self, request: SnapshotRequest, chunks: SnapshotChunks
    ) -> SnapshotReply:
        if request.notice:
            chunks.runtime_only()

        async def resume(files: int, offset: int) -> None:
            self._cluster.resumed.append((files, offset))
            chunks.seek(files, offset)

        async def arriving() -> AsyncIterator[SnapshotChunk]:
            async for chunk in chunks:
                if self._cluster.chunks_to_come == 0:
                    raise PeerUnreachableError("the connection is lost")
                self._cluster.chunks_to_come -= 1
                self._cluster.sent.append(chunk.file)
                yield chunk

        try:
            return await self.target().inbound.handle_snapshot(request, arriving(), resume)
        except (OverloadedError, SnapshotFetchError) as error:
            raise PeerUnreachableError(str(error)) from error

    async def start_election(self, request: StartElection) -> bool:
        return await self.target().inbound.handle_start_election(request)


class LoopConnector:
    def __init__(self, cluster: LoopCluster, me: str) -> None:
        self._cluster, self._me = cluster, me
        self.connected: list[str] = []

    def connect(self, peer: Member) -> LoopTransport:
        self.connected.append(peer.id)
        return LoopTransport(self._cluster, self._me, peer.id)

    def disconnect(self, peer: Member) -> None:
        self.connected.remove(peer.id)


class LoopCluster:
    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        names: Sequence[str] = ("n1", "n2", "n3"),
        config: RaftConfig | None = None,
        settings: RuntimeSettings | None = None,
        seed: int = 1,
        new_machine: Callable[[], Journal] = Journal,
    ) -> None:
        self._nursery = nursery
        self._config = config or RaftConfig()
        self._settings = settings or RuntimeSettings()
        self._rng = random.Random(seed)
        self._new_machine = new_machine
        self.configuration = Configuration(tuple(Member(n, f"{n}:1") for n in names))
        self.storages = {name: MemoryStorage() for name in names}
        self.machines: dict[str, Journal] = {}
        self.groups: dict[str, Group] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self.cut: list[tuple[str, str]] = []
        self.chunks_to_come = -1  # of snapshots, before their connections break
        self.sent: list[str] = []  # the files of all chunks that arrived
        self.resumed: list[tuple[int, int]] = []  # where transfers began

    def start(self, *names: str) -> None:
        for name in names or self.storages:
            machine = self.machines[name] = self._new_machine()
            group = Group(
                group_id=b"g" * 16,
                node_id=name,
                configuration=self.configuration,
                config=self._config,
                settings=self._settings,
                storage=self.storages[name],
                machine=machine,
                connector=LoopConnector(self, name),
                rng=random.Random(self._rng.getrandbits(32)),
            )
            self.groups[name] = group
            self.scopes[name] = trio.CancelScope()
            self._nursery.start_soon(self._run, group, self.scopes[name])

    async def _run(self, group: Group, scope: trio.CancelScope) -> None:
        with scope:
            await group.run()

    def kill(self, name: str) -> None:
        """Stop a node; its storage keeps what is durable, and it can be started again."""
        self.scopes[name].cancel()
        del self.groups[name]
        self.storages[name] = self.storages[name].reopen()

    def isolate(self, name: str) -> None:
        for other in self.storages:
            self.cut += [(name, other), (other, name)]

    def heal(self) -> None:
        self.cut.clear()

    async def leader(self) -> Group:
        """The leader that a majority of the running nodes follows."""
        while True:
            for group in self.groups.values():
                followers = [
                    other for other in self.groups.values()
                    if other.term == group.term and other.leader is not None
                    and other.leader.id == group.node_id
                ]  # fmt: skip
                if group.role is Role.LEADER and len(followers) * 2 > len(self.storages):
                    return group
            await trio.sleep(0.01)

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(0.01)


@asynccontextmanager
async def loop_cluster(*, connected: bool = True, **options: object) -> AsyncIterator[LoopCluster]:
    async with trio.open_nursery() as nursery:
        cluster = LoopCluster(nursery, **options)  # type: ignore[arg-type]
        if not connected:
            for name in cluster.storages:
                cluster.isolate(name)
        cluster.start()
        yield cluster
        nursery.cancel_scope.cancel()
