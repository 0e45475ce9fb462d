"""Nodes that count, as an application opens them: what the tests of hosts share."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

import trioraft
from trioraft import Command, Node, SnapshotSink, SnapshotSource, StateMachine

FAST = trioraft.RaftConfig(
    election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1
)


class Counter(StateMachine):
    def __init__(self) -> None:
        self.value = 0

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        replies = []
        for command in commands:
            self.value += int(command.data)
            replies.append(b"%d" % self.value)
        return replies

    async def query(self, request: bytes) -> bytes:
        return b"%d" % self.value

    async def snapshot(self, sink: SnapshotSink) -> None:
        await sink.write(b"%d" % self.value)

    async def restore(self, source: SnapshotSource) -> None:
        self.value = int(await source.read() or b"0")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@asynccontextmanager
async def three_nodes(tmp_path: Path, wire: str) -> AsyncIterator[list[Node]]:
    peers = {str(n): f"127.0.0.1:{p}" for n, p in enumerate(free_ports(3), 1)}
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                trioraft.open_node(
                    id=name,
                    peers=peers,
                    machine=Counter(),
                    data=tmp_path / name,
                    wire=wire,
                    config=FAST,
                )
            )
            for name in peers
        ]
        with trio.fail_after(20):
            for node in nodes:
                await node.wait_leader()
        yield nodes
