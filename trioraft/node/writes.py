"""The writes that were proposed on this node and whose callers wait for the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from trioraft.raft.errors import SessionExpiredError
from trioraft.raft.types import Entry, Proposal, Session

from .sessions import SessionTable
from .wakeups import Answer

__all__ = ["Pending", "WriteResult", "Writes"]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A write that has been applied.

    reply: what the state machine answered.
    index: the place of its entry in the log: what reads with `min_index` and `watch` take. For
        a retry of a session's call, the place of the first entry.
    """

    reply: bytes
    index: int


Pending: TypeAlias = tuple[Proposal, Answer[WriteResult]]


class Writes:
    """From the driver's proposal to the applier's answer.

    A call of a session that is under way here already is not proposed again: it joins the first.
    One that has been applied is answered from the session table. A new leader cannot tell before
    it has applied what its predecessors left: calls of sessions are held until then, so that no
    call gets into the log twice (Ratis's leader answers "not ready" meanwhile).
    """

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions
        self._waiters: dict[int, tuple[int, Answer[WriteResult]]] = {}  # index -> term, slot
        self._calls: dict[Session, int] = {}  # those that wait, by their entry's index
        self._joined: dict[int, list[Answer[WriteResult]]] = {}
        self._joined_count = 0
        self._held: list[Pending] = []
        self.on_release: Callable[[], None] = lambda: None  # told that `released` has something

    def __len__(self) -> int:
        """How many callers wait."""
        return len(self._waiters) + self._joined_count + len(self._held)

    # -- the driver

    def sort_out(
        self, pending: Sequence[Pending], *, hold: bool
    ) -> tuple[list[Pending], list[Pending]]:
        """Answer or join what need not be proposed; with `hold`, keep the calls of sessions.

        Returns what is to be proposed now, and later repeats within `pending` of a call that is:
        to be sorted out again when that has its place.
        """
        fresh: list[Pending] = []
        repeats: list[Pending] = []
        begun: dict[Session, bool] = {}
        for write in pending:
            session = write[0].session
            if session is None:
                fresh.append(write)
            elif hold:
                self._held.append(write)
            elif session in begun:
                repeats.append(write)
            elif not self._settle(session, write[1]):
                begun[session] = True
                fresh.append(write)
        return fresh, repeats

    def released(self) -> list[Pending]:
        """Take out what was held, to sort it out again."""
        held, self._held = self._held, []
        return held

    def placed(self, index: int, term: int, write: Pending) -> None:
        """A write has become the entry `index` of `term`."""
        proposal, slot = write
        self._waiters[index] = (term, slot)
        if proposal.session is not None:
            self._calls[proposal.session] = index

    def fail_all(self, error: BaseException) -> None:
        """Nobody here can tell the outcome of what waits any more."""
        slots = [slot for _, slot in self._waiters.values()]
        for joined in self._joined.values():
            slots += joined
        slots += [slot for _, slot in self.released()]
        self._waiters.clear()
        self._calls.clear()
        self._joined.clear()
        self._joined_count = 0
        for slot in slots:
            slot.fail(error)

    # -- the applier

    def finish(self, entry: Entry, outcome: WriteResult | SessionExpiredError) -> None:
        """The turn of `entry` has come; tell whoever waits for it."""
        waiter = self._waiters.pop(entry.index, None)
        if waiter is None:
            return
        term, slot = waiter
        assert term == entry.term, "a waiter outlived its truncated entry"
        _answer(slot, outcome)
        if entry.session is not None:
            del self._calls[entry.session]
            joined = self._joined.pop(entry.index, [])
            self._joined_count -= len(joined)
            for other in joined:
                _answer(other, outcome)

    def progressed(self) -> None:
        """Entries have been applied: what was held may go on."""
        if self._held:
            self.on_release()

    # -- inside

    def _settle(self, session: Session, slot: Answer[WriteResult]) -> bool:
        """Whether `slot` has got its answer or joined the call that will."""
        index = self._calls.get(session)
        if index is not None:
            self._joined.setdefault(index, []).append(slot)
            self._joined_count += 1
            return True
        try:
            found = self._sessions.find(session)
        except SessionExpiredError as error:
            slot.fail(error)
            return True
        if found is None:
            return False
        first, reply = found
        slot.resolve(WriteResult(reply, first))
        return True


def _answer(slot: Answer[WriteResult], outcome: WriteResult | SessionExpiredError) -> None:
    if isinstance(outcome, WriteResult):
        slot.resolve(outcome)
    else:
        slot.fail(outcome)
