"""What the tests of snapshots share: machines that write them in their own way, followers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from loopback import Journal, LoopCluster

from trioraft.node import Group, RuntimeSettings
from trioraft.node.machine import SnapshotSink, SnapshotSource

MANUAL = RuntimeSettings(snapshot_after_entries=10**9, keep_entries=0)


class CapturedJournal(Journal):
    """Written from a copy; waits for `gate`, if there is one, before it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: trio.Event | None = None
        self.open_captures = 0

    def capture(self) -> _Capture:
        assert not self.busy
        self.open_captures += 1
        return _Capture(self, list(self.seen))

    async def snapshot(self, sink: SnapshotSink) -> None:
        raise AssertionError("it can be captured")


class _Capture:
    def __init__(self, machine: CapturedJournal, seen: Sequence[bytes]) -> None:
        self._machine, self._seen = machine, seen

    async def write(self, sink: SnapshotSink) -> None:
        if self._machine.gate is not None:
            await self._machine.gate.wait()
        for data in self._seen:
            await sink.write(len(data).to_bytes(4, "big") + data)

    def close(self) -> None:
        self._machine.open_captures -= 1


class FilesJournal(Journal):
    """Every command in a file of its own, named by its number."""

    async def snapshot(self, sink: SnapshotSink) -> None:
        for number, data in enumerate(self.seen):
            await sink.create_file(f"{number}.cmd")
            await sink.write(data)
        with pytest.raises(ValueError, match="underscore"):
            await sink.create_file("_sessions")

    async def restore(self, source: SnapshotSource) -> None:
        self.restored += 1
        self.seen = []
        assert [file.name for file in source.files] == [
            f"{n}.cmd" for n in range(len(source.files))
        ]
        for file in reversed(source.files):
            await source.open_file(file.name)
            self.seen.insert(0, await source.read())
        with pytest.raises(KeyError):
            await source.open_file("_sessions")


async def captured(cluster: LoopCluster) -> tuple[Group, CapturedJournal]:
    group = await cluster.leader()
    machine = cluster.machines[group.node_id]
    assert isinstance(machine, CapturedJournal)
    return group, machine


async def fallen_behind(cluster: LoopCluster) -> tuple[str, str]:
    """(leader, a stopped follower that only a snapshot can bring back)."""
    leader = await cluster.leader()
    behind = next(name for name in cluster.groups if name != leader.node_id)
    cluster.kill(behind)
    for number in range(30):
        await leader.propose(b"%d" % number)
    await leader.take_snapshot()
    await trio.sleep(0.1)
    return leader.node_id, behind


def leader_seen(cluster: LoopCluster, leader: str) -> list[bytes]:
    return cluster.machines[leader].seen
