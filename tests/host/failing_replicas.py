"""Replicas on disks that fail when told to: what the tests of failing disks share."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from disk_faults import FaultyEnvironment

import trioraft
from trioraft import Command, Node, Role, SnapshotSink, SnapshotSource, StateMachine
from trioraft.raft.errors import (
    GroupStoppedError,
)

FAST = trioraft.RaftConfig(
    election_timeout_min=0.5, election_timeout_max=1.0, heartbeat_interval=0.1
)


CODES = {"fault": errno.EIO, "full": errno.ENOSPC, "read-only": errno.EROFS}


class Journal(StateMachine):
    """Remembers every command."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        self.seen += [command.data for command in commands]
        return [b""] * len(commands)

    async def query(self, request: bytes) -> bytes:
        return b",".join(self.seen)

    async def snapshot(self, sink: SnapshotSink) -> None:
        await sink.write(b",".join(self.seen))

    async def restore(self, source: SnapshotSource) -> None:
        self.seen = (await source.read()).split(b",")


class Replica:
    """One node, its machine, and the faults of its disk."""

    def __init__(self, node: Node, machine: Journal, environment: FaultyEnvironment) -> None:
        self.node = node
        self.machine = machine
        self.files = environment.files


def addresses(count: int) -> dict[str, str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return {str(number): f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}


@asynccontextmanager
async def replica(
    name: str, peers: dict[str, str], path: Path, **options: object
) -> AsyncIterator[Replica]:
    environment, machine = FaultyEnvironment(), Journal()
    options.setdefault("config", FAST)
    async with trioraft.open_node(
        id=name,
        machine=machine,
        peers=peers,
        data=path / name,
        environment=environment,
        **options,  # type: ignore[arg-type]
    ) as node:
        yield Replica(node, machine, environment)


async def leader_of(replicas: Sequence[Replica]) -> Replica:
    with trio.fail_after(10):
        while True:
            for found in replicas:
                if found.node.failure is None and found.node.role is Role.LEADER:
                    return found
            await trio.sleep(0.01)


async def stopped(found: Replica) -> BaseException:
    with trio.fail_after(10), pytest.raises(GroupStoppedError):
        await found.node.wait_stopped()
    assert found.node.failure is not None
    return found.node.failure
