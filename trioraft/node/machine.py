"""What an application brings: its state machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import NodeId, Session, SnapshotFile

__all__ = [
    "Command",
    "SnapshotCapture",
    "SnapshotOffer",
    "SnapshotPosition",
    "SnapshotSink",
    "SnapshotSource",
    "StateMachine",
]


@dataclass(slots=True)
class Command:
    """One committed write, not to be changed. `index` and `term` are its place in the log."""

    index: int
    term: int
    data: bytes
    session: Session | None = None


class SnapshotSink(Protocol):
    """Where a state machine writes its snapshot: one file, or several with names."""

    async def write(self, data: bytes) -> None:
        """Append bytes to the current file; any size. Cancelling abandons the snapshot."""

    async def create_file(self, name: str) -> None:
        """Begin another file; what `write` gets next belongs to it.

        Optional: bytes written before go to a file named "state". `name`: at most 128 of
        `A-Za-z0-9._-`, beginning with a letter or a digit; at most 1000 of them in a snapshot.
        Raises ValueError for another name or a second file of that name.
        """


class SnapshotSource(Protocol):
    """What a state machine restores itself from. Every byte of it has passed its checksum."""

    @property
    def files(self) -> Sequence[SnapshotFile]:
        """The machine's files, in the order in which they were written."""

    async def open_file(self, name: str) -> None:
        """Read on at the start of that file. Raises KeyError."""

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        """Next bytes of the current file, at first the first one; b"" at its end."""


class SnapshotCapture(Protocol):
    """The state of a machine at one moment, to be written while the machine goes on."""

    async def write(self, sink: SnapshotSink) -> None:
        """Write it. Runs beside `apply` and `query`: it must let other tasks run every

        few milliseconds, and write the state as it was captured, whatever changed since.
        """

    def close(self) -> None:
        """Let go of it: called exactly once, after `write`, or instead of it."""


@dataclass(frozen=True, slots=True)
class SnapshotPosition:
    """The place in the log that a state stands for: the last entry it has, and its term."""

    index: int
    term: int


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """What a leader says of the snapshot that a state machine is to fetch.

    leader, address: where it comes from; the address is the one that peers dial, "" if unknown.
    index, term: the last entry that it covers. `exact`: this position and no other will do;
        else any from `index` on, and `term` is 0, which is unknown.
    """

    leader: NodeId
    address: str
    index: int
    term: int
    exact: bool


class StateMachine(ABC):
    """A deterministic state machine, replicated.

    The runtime never calls two of these methods at the same time, never hands in an entry
    twice or out of order, and calls nothing before `restore` (if there is a snapshot) is done.
    All may await; what they do must depend on their arguments alone, so that every replica
    computes the same. An exception from `query` goes to its caller; one from any other method
    stops this group on this node, but for a StorageError that came out of the sink.
    """

    @abstractmethod
    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        """Apply a batch in order; return one reply per command, for its proposer."""

    @abstractmethod
    async def query(self, request: bytes) -> bytes:
        """Answer a read from the current state without changing it."""

    def apply_now(self, commands: Sequence[Command]) -> Sequence[bytes] | None:
        """`apply` without waiting, for up to 256 commands; called in its stead where it can be.

        Optional. None: not these, call `apply`; then nothing has changed. It runs inside the
        group's turn, so that the callers are answered at once: it must take no longer than
        a millisecond or so.
        """
        return None

    def query_now(self, request: bytes) -> bytes | None:
        """`query` without waiting, as `apply_now` is to `apply`. None: call `query`."""
        return None

    @abstractmethod
    async def snapshot(self, sink: SnapshotSink) -> None:
        """Write the whole state to `sink`. Nothing is applied meanwhile; see `capture`."""

    def capture(self) -> SnapshotCapture | None:
        """Take hold of the state as it is now, so that it can be written beside `apply`.

        Called between two batches; must be quick (milliseconds), because everything waits for
        it. None, the default: `snapshot` is called instead, and the group applies nothing until
        it is done, which is fine for a state that is written in a few milliseconds.
        """
        return None

    @abstractmethod
    async def restore(self, source: SnapshotSource) -> None:
        """Replace the whole state by what `snapshot` wrote."""

    async def fetch_snapshot(
        self, offer: SnapshotOffer, sink: SnapshotSink
    ) -> SnapshotPosition | None:
        """Get the state at `offer` from wherever it is, and write it as `snapshot` would.

        For groups with `RuntimeSettings.fetch_snapshots`. What is written may be the state, or
        a reference to it that `restore` can follow at any later start. It must be the state
        behind the last command at or before the position that is returned; entries without
        commands have positions, too, so a machine that files its states by `Command.index`
        looks for the last one that is not above `offer.index`.

        Runs beside `apply` and `query`, perhaps for long, and must change nothing of this
        machine: when all of it is durable here, `restore` gets it. None if there is nothing to
        be had at present. None, another position than `offer` allows, or an exception are
        logged and tried again with growing pauses, perhaps with a newer offer. Cancelled when the
        leader changes or goes: what was written is then deleted.
        """
        raise ConfigurationError(f"{type(self).__name__} does not fetch snapshots")

    def describe(self) -> Mapping[str, str]:
        """A few facts for operators (`trioraft status`), such as a number of keys."""
        return {}
