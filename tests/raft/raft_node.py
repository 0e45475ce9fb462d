"""What a simulated group of cores consists of: nodes with disks, and messages under way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from trioraft.raft import RaftCore, RaftLog, Ready
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    SnapshotMeta,
)


@dataclass
class Packet:
    """A message under way. `token` travels with a request and names where the reply goes."""

    source: NodeId
    target: NodeId
    message: Any


@dataclass
class Disk:
    """What survives a crash, and the writes that have not been synced."""

    hard_state: HardState = field(default_factory=HardState)
    base: tuple[int, int] = (NO_INDEX, NO_TERM)
    entries: list[Entry] = field(default_factory=list)
    snapshot: SnapshotMeta | None = None
    queue: deque[Ready] = field(default_factory=deque)

    @property
    def last_index(self) -> int:
        return self.base[0] + len(self.entries)

    def write(self, ready: Ready) -> None:
        if ready.reset is not None:
            self.base = (ready.reset.index, ready.reset.term)
            self.entries = []
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.entries:
            keep = ready.entries[0].index - self.base[0] - 1
            assert 0 <= keep <= len(self.entries), "a gap in the stored log"
            self.entries[keep:] = ready.entries

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Reads see what is queued."""
        view = Disk(base=self.base, entries=list(self.entries))
        for ready in self.queue:
            view.write(ready)
        found: list[Entry] = []
        size = 0
        for entry in view.entries[max(low - view.base[0] - 1, 0) : high - view.base[0] - 1]:
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def term_at(self, index: int) -> int | None:
        if index == self.base[0]:
            return self.base[1]
        position = index - self.base[0] - 1
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def recover(self, max_cached_bytes: int) -> RaftLog:
        snapshot = self.snapshot
        stored = snapshot is None or self.term_at(snapshot.index) == snapshot.term
        if snapshot is not None and not stored and snapshot.index > self.base[0]:
            self.base, self.entries = (snapshot.index, snapshot.term), []
        runs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        configurations = [e for e in self.entries if e.kind is EntryKind.CONFIGURATION]
        return RaftLog.recovered(
            *self.base,
            self.last_index,
            runs,
            configurations,
            self.entries[-3:],
            max_cached_bytes,
        )


class Node:
    """One core with its disk. `core` is None while it is down."""

    def __init__(self, node_id: NodeId, configuration: Configuration) -> None:
        """`configuration`: what it was first started with; none for a node that joins."""
        self.id = node_id
        self.configuration = configuration
        self.clock_rate = 1.0
        self.disk = Disk()
        self.core: RaftCore | None = None
        self.applied = NO_INDEX
        self.peers: list[NodeId] = []  # whom it has been told to be able to reach

    @property
    def up(self) -> RaftCore:
        assert self.core is not None, f"{self.id} is down"
        return self.core
