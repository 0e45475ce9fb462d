"""What callers ask of the leader: writes, reads and watches, gathered for one turn."""

from __future__ import annotations

from trioraft.node.applier import Applier, Read
from trioraft.node.occupancy import Occupancy
from trioraft.node.settings import RuntimeSettings
from trioraft.node.wakeups import Answer, Slot
from trioraft.node.watches import Watches
from trioraft.node.writes import Pending, WriteResult, Writes
from trioraft.raft.core import RaftCore
from trioraft.raft.errors import (
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.raft.types import NodeId, Proposal, Role
from trioraft.storage.interface import GroupStorage

from .inbox import Inbox

__all__ = ["Gathering"]

# Proposals of one turn. With more of them in one batch, leader, followers and disks would take
# turns at working, each waiting for the others; smaller batches overlap.
_GATHERED = 256


class Gathering(Inbox):
    """The part of `Driver` that gathers: one batch, or one heartbeat round, for many callers.

    Everybody who waits for an outcome is told when this node leads no longer, or stops.
    """

    def __init__(
        self,
        core: RaftCore,
        storage: GroupStorage,
        applier: Applier,
        settings: RuntimeSettings,
        writes: Writes,
    ) -> None:
        super().__init__(core, settings)
        self._storage = storage
        self._applier = applier
        self._writes = writes
        writes.on_release = self._resume_proposals
        self.watches = Watches(settings.max_watches)
        self._proposals: list[Pending] = []
        self._reads: list[Read] = []
        self.asked = 0  # proposals and reads that were ever taken in

    def propose(self, proposal: Proposal) -> Slot[WriteResult]:
        """Hand a write in; the slot answers when it is applied here, or says why not."""
        slot: Slot[WriteResult] = Slot()
        self.propose_for(slot, proposal)
        return slot

    def propose_for(self, answer: Answer[WriteResult], proposal: Proposal) -> None:
        """As `propose`, with an answer of the caller's own."""
        self.check_running()
        if len(self._writes) + len(self._proposals) >= self._settings.max_proposals:
            raise OverloadedError(f"{self._settings.max_proposals} proposals are under way")
        if self._storage.queued_bytes > self._settings.max_unwritten_bytes:
            raise OverloadedError(f"{self._storage.queued_bytes} bytes wait for a slow disk")
        self.asked += 1
        self._proposals.append((proposal, answer))
        self._doorbell.ring()

    def read(self, read: Read) -> None:
        """Hand a linearizable read in; answered through the applier."""
        self.check_running()
        if len(self._reads) >= self._settings.max_reads:
            raise OverloadedError(f"{len(self._reads)} reads are waiting")
        self.asked += 1
        self._reads.append(read)
        self._doorbell.ring()

    def occupancy(self) -> list[Occupancy]:
        """How full the queues are that lead into the core, and those that wait for its answers."""
        settings, core = self._settings, self.core
        proposals = len(self._writes) + len(self._proposals)
        return [
            Occupancy("peer messages", len(self._messages), settings.max_inbox),
            Occupancy("proposals", proposals, settings.max_proposals),
            Occupancy("reads for the next round", len(self._reads), settings.max_reads),
            Occupancy("reads that wait for a quorum", core.open_reads, settings.max_reads),
            *self.watches.occupancy(),
        ]

    # -- for the driver

    def _begin(self, now: float) -> None:
        if self._reads:
            self._begin_reads(now)
        if self._proposals:
            self._begin_proposals(now)

    def _begin_reads(self, now: float) -> None:
        reads, self._reads = self._reads, []
        # Those of a leader that nobody answers stay with the core until it steps down.
        room = max(self._settings.max_reads - self.core.open_reads, 0)
        for read in reads[room:]:
            read.answer.fail(
                OverloadedError(f"{self._settings.max_reads} reads wait for a quorum to answer")
            )
        for read in reads[:room]:
            try:
                self.core.read_index(read, now, lease=True)  # if the group has leases
            except TrioraftError as error:
                read.answer.fail(error)

    def _begin_proposals(self, now: float) -> None:
        unknown = self.core.role is Role.LEADER and self._applier.applied_term != self.core.term
        taken, rest = self._proposals[:_GATHERED], self._proposals[_GATHERED:]
        pending, repeats = self._writes.sort_out(taken, hold=unknown)
        self._proposals = repeats + rest
        if self._proposals:
            self._doorbell.ring()
        if not pending:
            return
        try:
            indices = self.core.propose([proposal for proposal, _ in pending], now)
        except TrioraftError as error:
            if len(pending) > 1 and not isinstance(error, NotLeaderError):
                self._propose_singly(pending, now)
                return
            for _, slot in pending:
                slot.fail(error)
            return
        term = self.core.term
        for index, write in zip(indices, pending, strict=True):
            self._writes.placed(index, term, write)

    def _resume_proposals(self) -> None:
        """What was held for a leader that was not ready comes first in the next turn."""
        self._proposals[:0] = self._writes.released()
        self._doorbell.ring()

    def _propose_singly(self, pending: list[Pending], now: float) -> None:
        """One proposal of the batch was refused: find which, and let the others go on."""
        for write in pending:
            try:
                (index,) = self.core.propose([write[0]], now)
            except TrioraftError as error:
                write[1].fail(error)
            else:
                self._writes.placed(index, self.core.term, write)

    def _leadership_lost(self, leader: NodeId | None) -> None:
        """The outcome of what was proposed here is no longer ours to tell."""
        for _, answer in self._writes.released():
            answer.fail(NotLeaderError(leader))
        self._writes.fail_all(
            ProposalDroppedError(
                f"leadership was lost (leader is now {leader or 'unknown'}); "
                "the write may or may not take effect"
            )
        )
        self.watches.fail_all(NotLeaderError(leader))

    def _fail_gathered(self, error: BaseException) -> None:
        """Nothing will be begun any more."""
        for _, slot in self._proposals:
            slot.fail(error)
        self._writes.fail_all(_dropped(error))
        self.watches.fail_all(error)
        for read in self._reads:
            read.answer.fail(error)
        self._proposals.clear()
        self._reads.clear()


def _dropped(stopped: BaseException) -> ProposalDroppedError:
    """For a write that is in the log when the group stops: the others may still commit it."""
    error = ProposalDroppedError(f"{stopped}; the write may or may not take effect")
    error.__cause__ = stopped
    return error
