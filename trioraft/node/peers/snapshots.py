"""What travels between the runtimes of a group beside the core's own messages: snapshots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from trioraft.raft.types import NO_INDEX, Configuration, NodeId

__all__ = [
    "NoticeOutcome",
    "NoticeReply",
    "Resume",
    "SnapshotChunk",
    "SnapshotChunks",
    "SnapshotNotice",
]

Resume = Callable[[int, int], Awaitable[None]]
"""Tells the sender of a snapshot how many whole files, and bytes of the next, need no sending."""


class SnapshotChunk(NamedTuple):
    """A piece of one file of a snapshot. Files come one after another, each from its start.

    An empty file is one empty chunk.
    """

    file: str
    data: bytes


class SnapshotChunks(Protocol):
    """The chunks of a snapshot that is being sent, from its beginning unless told otherwise."""

    def seek(self, files: int, offset: int) -> None:
        """Go on behind so many whole files and bytes of the next; before any chunk is taken.

        Raises ValueError if the snapshot has no such place.
        """

    def runtime_only(self) -> None:
        """Leave the state machine's files out; before `seek`, which then counts the others."""

    def __aiter__(self) -> AsyncIterator[SnapshotChunk]: ...

    async def __anext__(self) -> SnapshotChunk: ...


@dataclass(frozen=True, slots=True)
class SnapshotNotice:
    """A leader of another make no longer has the entries up to `index`: fetch a later state.

    index: NO_INDEX if it has them all, and only asks whether anything is wanted.
    configuration: the newest one in that leader's log when it said so, and the index of its entry.
    """

    term: int
    leader: NodeId
    index: int
    configuration: Configuration
    configuration_index: int


class NoticeOutcome(Enum):
    """What a notice has led to."""

    IN_PROGRESS = "in progress"
    INSTALLED = "installed"  # told once
    ALREADY_THERE = "already there"
    UNAVAILABLE = "unavailable"  # the machine has found nothing to fetch, for now
    NOT_LEADER = "not leader"
    MISMATCH = "mismatch"  # in this group, machines don't fetch


@dataclass(frozen=True, slots=True)
class NoticeReply:
    """`index`: up to which everything is installed, NO_INDEX unless the outcome says so."""

    outcome: NoticeOutcome
    term: int
    index: int = NO_INDEX
