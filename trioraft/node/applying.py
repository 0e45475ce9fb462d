"""From committed entries to commands of the state machine, and from its replies to outcomes.

What `applier` does the same way in its task and on the spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trioraft.raft.errors import SessionExpiredError
from trioraft.raft.types import Entry, EntryKind

from .index_waits import IndexWaits
from .machine import Command, StateMachine
from .sessions import EXPIRED, SessionTable, expired
from .snapshots import Snapshots
from .writes import WriteResult, Writes

__all__ = ["Applying", "Batch"]


class Batch(NamedTuple):
    """Entries to be applied; `skipped`: by index, what `SessionTable.admit` says of those."""

    entries: Sequence[Entry]
    commands: list[Command]
    skipped: dict[int, int]


class Applying:
    """The half of `Applier` that knows sessions and writes; it waits for nothing.

    applied, applied_term: the last entry that the machine has seen, or that a snapshot holds.
    waits: reads of this replica, for an index to come.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        sessions: SessionTable,
        writes: Writes,
        waits: IndexWaits,
        snapshots: Snapshots,
    ) -> None:
        self._machine = machine
        self._sessions = sessions
        self._writes = writes
        self.waits = waits
        self._snapshots = snapshots
        self.applied = snapshots.index
        self.applied_term = snapshots.term

    def _prepare(self, entries: Sequence[Entry]) -> Batch:
        """Make commands of `entries`. Once per entry: the session table takes note."""
        assert entries[0].index == self.applied + 1, f"{entries[0].index} behind {self.applied}"
        commands: list[Command] = []
        skipped: dict[int, int] = {}  # what `admit` says of those
        for entry in entries:
            if entry.kind is not EntryKind.WRITE:
                continue
            if (session := entry.session) is not None:
                first = self._sessions.admit(session, entry.index)
                if first != entry.index:
                    skipped[entry.index] = first
                    continue
            commands.append(Command(entry.index, entry.term, entry.data, session))
        return Batch(entries, commands, skipped)

    def _finish(self, batch: Batch, replies: Sequence[bytes]) -> None:
        if len(replies) != len(batch.commands):
            raise RuntimeError(
                f"{type(self._machine).__name__}.apply returned {len(replies)} replies "
                f"for {len(batch.commands)} commands"
            )
        entries, _, skipped = batch
        writes = self._writes
        waited_for = bool(writes)
        position = 0
        size = 0
        for entry in entries:
            size += len(entry.data)
            if entry.kind is not EntryKind.WRITE:
                continue
            if (first := skipped.get(entry.index)) is not None:
                outcome = self._outcome(entry, first)
                if waited_for:
                    writes.finish(entry, outcome)
            else:
                reply = replies[position]
                position += 1
                if entry.session is not None:
                    self._sessions.settle(entry.index, reply)
                if waited_for:
                    writes.finish(entry, WriteResult(reply, entry.index))
        self.applied = entries[-1].index
        self.applied_term = entries[-1].term
        writes.progressed()
        if self.waits:
            self.waits.reach(self.applied)
        self._snapshots.count(size)

    def _outcome(self, entry: Entry, first: int) -> WriteResult | SessionExpiredError:
        """Of an entry that was skipped, because its call was applied at `first`, or `EXPIRED`."""
        assert entry.session is not None
        self._sessions.settle_to(entry.index)
        if first == EXPIRED:
            return expired(entry.session)
        try:
            return WriteResult(self._sessions.first_reply(entry.session, first), first)
        except SessionExpiredError as error:
            return error
