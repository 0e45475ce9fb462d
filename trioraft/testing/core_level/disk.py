"""The disk of a core under simulation: what is synced, and the writes that still wait."""

from __future__ import annotations

from collections import deque

from trioraft.raft import RaftLog, Ready
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Entry,
    EntryKind,
    HardState,
    SnapshotMeta,
)

__all__ = ["CoreDisk"]

_TAIL = 3  # entries that a restarted core gets handed; others are loaded when they are needed


class CoreDisk:
    """Holds whole `Ready`s: a crash loses those that wait, except for a prefix of them.

    The order of writes is kept, as storage does with its group commits.
    """

    __slots__ = ("base_index", "base_term", "entries", "hard_state", "queue", "snapshot")

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.base_index = NO_INDEX
        self.base_term = NO_TERM
        self.entries: list[Entry] = []
        self.snapshot: SnapshotMeta | None = None
        self.queue: deque[Ready] = deque()

    def sync(self) -> Ready:
        """The oldest waiting write becomes durable."""
        ready = self.queue.popleft()
        self._write(ready)
        return ready

    def crash(self, survivors: int) -> None:
        """Lose what waits, except for its first `survivors` writes."""
        for ready in list(self.queue)[:survivors]:
            self._write(ready)
        self.queue.clear()

    def _write(self, ready: Ready) -> None:
        if ready.reset is not None:
            self.base_index, self.base_term = ready.reset.index, ready.reset.term
            self.entries = []
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.entries:
            keep = ready.entries[0].index - self.base_index - 1
            if not 0 <= keep <= len(self.entries):
                raise AssertionError(f"a gap in the stored log before {ready.entries[0].index}")
            self.entries[keep:] = ready.entries

    def term_at(self, index: int) -> int | None:
        """The term of the synced entry at `index`, of the base, or None."""
        position = index - self.base_index - 1
        if position == -1:
            return self.base_term
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def holds(self, index: int, term: int) -> bool:
        """The entry is synced here, or a snapshot covers it."""
        covered = self.base_index if self.snapshot is None else self.snapshot.index
        return covered >= index or self.base_index >= index or self.term_at(index) == term

    def read(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries of [low, high) as a reader sees them, with what waits; empty if compacted."""
        view = CoreDisk()
        view.base_index, view.base_term = self.base_index, self.base_term
        view.entries = list(self.entries)
        for ready in self.queue:
            view._write(ready)
        if low <= view.base_index:
            return []
        found: list[Entry] = []
        size = 0
        for entry in view.entries[low - view.base_index - 1 : high - view.base_index - 1]:
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def compact(self, index: int) -> None:
        """Forget the synced entries up to `index`, if nothing that waits may still need them."""
        term = self.term_at(index)
        if term is not None and index > self.base_index and not self.queue:
            del self.entries[: index - self.base_index]
            self.base_index, self.base_term = index, term

    def recover(self, max_cached_bytes: int) -> RaftLog:
        """What a restart finds. A snapshot that the log does not reach replaces the log."""
        snapshot = self.snapshot
        if (
            snapshot is not None
            and snapshot.index > self.base_index
            and self.term_at(snapshot.index) != snapshot.term
        ):
            self.base_index, self.base_term = snapshot.index, snapshot.term
            self.entries = []
        runs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        return RaftLog.recovered(
            self.base_index,
            self.base_term,
            self.base_index + len(self.entries),
            runs,
            [e for e in self.entries if e.kind is EntryKind.CONFIGURATION],
            self.entries[-_TAIL:],
            max_cached_bytes,
        )
