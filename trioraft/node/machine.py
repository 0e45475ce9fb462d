"""What an application brings: its state machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trioraft.raft.types import Session

__all__ = ["Command", "SnapshotSink", "SnapshotSource", "StateMachine"]


@dataclass(slots=True, frozen=True)
class Command:
    """One committed write. `index` and `term` are its place in the log."""

    index: int
    term: int
    data: bytes
    session: Session | None = None


class SnapshotSink(Protocol):
    async def write(self, data: bytes) -> None:
        """Append bytes to the snapshot; any size. Cancelling abandons the snapshot."""


class SnapshotSource(Protocol):
    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """Next bytes of the snapshot, b"" at the end."""


class StateMachine(ABC):
    """A deterministic state machine, replicated.

    The runtime never calls two of these methods at the same time, never hands in an entry
    twice or out of order, and calls nothing before `restore` (if there is a snapshot) is done.
    All may await; what they do must depend on their arguments alone, so that every replica
    computes the same. An exception from `query` goes to its caller; one from any other method
    stops this group on this node.
    """

    @abstractmethod
    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        """Apply a batch in order; return one reply per command, for its proposer."""

    @abstractmethod
    async def query(self, request: bytes) -> bytes:
        """Answer a read from the current state without changing it."""

    @abstractmethod
    async def snapshot(self, sink: SnapshotSink) -> None:
        """Write the whole state to `sink`."""

    @abstractmethod
    async def restore(self, source: SnapshotSource) -> None:
        """Replace the whole state by what `snapshot` wrote."""

    def describe(self) -> Mapping[str, str]:
        """A few facts for operators (`trioraft status`), such as a number of keys."""
        return {}
