"""The driver: the only thing that touches the consensus core.

Everything that happens to a group is put into one of its inboxes by a plain function call, and
taken out in a *turn*: a plain function that steps the core with all that waits and carries out
what comes back: bytes to the log writer, messages to the replicators, answers to the callers, the
commit index to the applier. A turn never waits for the disk, the network or the state machine,
so neither a slow disk nor a large append can hold up a tick or a heartbeat. It is never entered
twice at once, which is all that the core asks for, so it needs no task to itself:

- A peer's appends and replies are stepped by `settle`, in the task that has just parsed them, and
  the end of a disk write where it is delivered. Waking another task for them would cost a pass
  of the scheduler each, more than most turns do.
- Proposals and reads gather: the driver's task takes all of one pass of the scheduler in one
  turn, as one batch for the disk and for each follower, or one heartbeat round.
- The driver's task also keeps the time, and is where a failed turn surfaces: whoever lent his
  task to a turn hears nothing of the group's errors.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import trio

from trioraft.raft.core import RaftCore
from trioraft.raft.errors import (
    GroupStoppedError,
    InvariantError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.raft.ready import LoadEntries, Ready, SoftState
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    AppendReply,
    AppendRequest,
    Member,
    NodeId,
    Proposal,
    Role,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.storage.interface import GroupStorage, PersistBatch

from .applier import Applier, Read
from .settings import RuntimeSettings
from .wakeups import Answer, Doorbell, Slot
from .watches import Watches
from .writes import Pending, WriteResult, Writes

__all__ = ["Driver", "Outbound"]

Message = VoteRequest | VoteReply | AppendRequest | AppendReply | StartElection
Reply = Callable[[Any], Callable[[], Any] | None]  # what it returns is for `Flushes`
Refuse = Callable[[BaseException], Any]

T = TypeVar("T")

# Proposals of one turn. With more of them in one batch, leader, followers and disks would take
# turns at working, each waiting for the others; smaller batches overlap.
_GATHERED = 256

logger = logging.getLogger(__name__)


class Outbound(Protocol):
    """Where the driver's messages go; none of these may block."""

    def send(self, to: NodeId, message: AppendRequest | VoteRequest | StartElection) -> None: ...

    def role_changed(self, role: Role, term: int, leader: NodeId | None) -> None: ...

    def rest_changed(self, resting: bool) -> None: ...

    def send_snapshot(self, to: NodeId) -> None: ...

    def peers_changed(self, members: Sequence[Member]) -> None: ...

    def removal_noticed(self, removed: bool) -> None: ...

    def load(self, request: LoadEntries) -> None: ...


class Driver:
    """Runs one core over one storage."""

    def __init__(
        self,
        *,
        core: RaftCore,
        storage: GroupStorage,
        applier: Applier,
        outbound: Outbound,
        settings: RuntimeSettings,
        writes: Writes,
        clock_rate: float = 1.0,
    ) -> None:
        """clock_rate: seconds that the core's clock counts in one of the event loop's."""
        self.core = core
        self._flushes = applier.flushes
        self._clock_rate = clock_rate
        self._storage = storage
        self._applier = applier
        self._outbound = outbound
        self._settings = settings
        self._writes = writes
        writes.on_release = self._resume_proposals
        self.watches = Watches(settings.max_watches)
        self._doorbell = Doorbell()
        self._ticked = Doorbell()
        self._alarm: trio.CancelScope | None = None
        self._messages: deque[tuple[Message, Reply | None, Refuse | None]] = deque()
        self._proposals: list[Pending] = []
        self._reads: list[Read] = []
        self.asked = 0  # proposals and reads that were ever taken in
        self._calls: deque[tuple[Callable[[float], Any], Slot[Any] | None]] = deque()
        self._soft = SoftState(core.role, core.term, core.leader_id)
        self._persisting = 0  # batches that the log writer has not made durable yet
        self._open = False  # turns may be taken: the driver's task runs and nothing has failed
        self._in_turn = False
        self._failure: BaseException | None = None  # of a turn; the driver's task raises it
        self._stopped: BaseException | None = None

    # -- inputs: plain calls, from any task of the group or its callers

    def receive(
        self, message: Message, reply: Reply | None = None, refuse: Refuse | None = None
    ) -> None:
        """Hand a peer's message in, for the next turn. Raises OverloadedError, GroupStoppedError.

        `reply` gets the answer to a request; `refuse` the ValueError for one that no correct
        peer sends, which is logged in any case and changes nothing.
        """
        self.check_running()
        if len(self._messages) >= self._settings.max_inbox:
            raise OverloadedError(f"{len(self._messages)} peer messages are waiting")
        self._messages.append((message, reply, refuse))

    def settle(self) -> None:
        """Take a turn at once with the messages that wait, in the caller's task.

        Bounded work: what one read of a socket brought. Never waits and raises nothing. Inside a
        turn, and while the driver's task does not run, the messages wait for the next turn.
        """
        if self._messages:
            self._take_turn()

    def step(
        self, message: Message, reply: Reply | None = None, refuse: Refuse | None = None
    ) -> None:
        """As `receive`, with a turn soon, in the driver's task."""
        self.receive(message, reply, refuse)
        self._doorbell.ring()

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

    def call(self, work: Callable[[float], Any]) -> None:
        """Run `work(now)` in the driver's next pass, between steps of the core."""
        self._calls.append((work, None))
        self._doorbell.ring()

    def ask(self, work: Callable[[float], T]) -> Slot[T]:
        """As `call`, with an answer: what `work` returns, or the error that it refuses with.

        Raises GroupStoppedError, and so does the slot if the group stops first.
        """
        self.check_running()
        slot: Slot[T] = Slot()

        def answer(now: float) -> None:
            try:
                slot.resolve(work(now))
            except (ValueError, TrioraftError) as error:
                slot.fail(error)
                if isinstance(error, InvariantError):
                    raise

        self._calls.append((answer, slot))
        self._doorbell.ring()
        return slot

    def stop(self, error: BaseException) -> None:
        """The group has stopped: every caller that waits is told so."""
        self._stopped = error
        for _, slot in self._proposals:
            slot.fail(error)
        self._writes.fail_all(_dropped(error))
        self.watches.fail_all(error)
        for read in self._reads:
            read.answer.fail(error)
        for _, _, refuse in self._messages:
            if refuse is not None:
                refuse(error)
        for _, asked in self._calls:
            if asked is not None:
                asked.fail(error)
        self._proposals.clear()
        self._reads.clear()
        self._messages.clear()
        self._calls.clear()

    def flush_later(self, flush: Callable[[], Any]) -> None:
        """Call `flush` at the end of the turn, or before it waits for the disk."""
        self._flushes.add(flush)

    def check_running(self) -> None:
        """Raises GroupStoppedError if the group has stopped."""
        if self._stopped is not None:
            raise GroupStoppedError(str(self._stopped)) from self._stopped

    # -- turns

    async def run(self) -> None:
        """Runs until cancelled, or until the core or the storage raises, in whichever turn.

        Cancelling is safe at any time: what was not made durable was not acknowledged.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            self._open = True
            try:
                while True:
                    await self._doorbell.wait()
                    self._take_turn(gathered=True)
                    if self._failure is not None:
                        raise self._failure
            finally:
                self._open = False

    async def _keep_time(self) -> None:
        """Ring when the core's deadline comes. A task of its own, because a cancel scope with a
        deadline in every turn would cost more than most turns do."""
        while True:
            with trio.CancelScope(deadline=self._due()) as self._alarm:
                await trio.sleep_forever()
            self._alarm = None
            self._doorbell.ring()
            await self._ticked.wait()

    def _set_alarm(self) -> None:
        """The alarm may ring early, never late."""
        if self._alarm is None:
            self._ticked.ring()
        elif (due := self._due()) < self._alarm.deadline:
            self._alarm.deadline = due

    def _due(self) -> float:
        """The core's deadline, on the event loop's clock: rounded up, or it would come too soon."""
        due = self.core.next_deadline / self._clock_rate
        return due if self._clock_rate == 1.0 else due + 1e-9

    def _take_turn(self, *, gathered: bool = False) -> None:
        """One turn, with what callers have `gathered` or without. Never entered twice at once."""
        if self._in_turn or not self._open:
            self._doorbell.ring()
            return
        self._in_turn = True
        try:
            now = trio.current_time() * self._clock_rate
            self._step(now)
            if gathered:
                self._begin(now)
            core = self.core
            while core.has_ready():
                self._carry_out(core.ready())
            if self.watches:
                self.watches.check(core)
            self._set_alarm()
        except Exception as error:
            self.fail(error)
        finally:
            self._in_turn = False
            self._flushes.run()

    def fail(self, error: BaseException) -> None:
        """No further turns: the core is not to be used after an error. The task raises it."""
        self._failure = self._failure or error
        self._open = False
        self._doorbell.ring()

    def _step(self, now: float) -> None:
        core = self.core
        messages = self._messages
        while messages:
            message, reply, refuse = messages.popleft()
            try:
                core.step(message, reply, now)
            except ValueError as error:
                logger.warning("%s: refused a peer's message: %s", core.node_id, error)
                if refuse is not None:
                    refuse(error)
        calls = self._calls
        while calls:
            calls.popleft()[0](now)
        # After a stall, what had arrived by then counts before the clock does.
        core.tick(now)

    def _begin(self, now: float) -> None:
        if self._reads:
            self._begin_reads(now)
        if self._proposals:
            self._begin_proposals(now)

    def _begin_reads(self, now: float) -> None:
        reads, self._reads = self._reads, []
        for read in reads:
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

    # -- carrying out

    def _carry_out(self, ready: Ready) -> None:
        """Order matters only here: replication starts before the local disk has answered."""
        outbound = self._outbound
        if ready.peers is not None:
            outbound.peers_changed(ready.peers)
        if ready.soft is not None:
            self._soft_changed(ready.soft)
        for to, message in ready.messages:
            outbound.send(to, message)
        # The core's tokens are what this driver handed in: callbacks and reads. Answers of one
        # stream keep their order: those that need no disk come before those that do.
        self._answer(ready.replies)
        # What the followers are to do must leave before the writer thread wakes up and asks for
        # the interpreter, or it would leave a thread switch later.
        self._flushes.run()
        self._persist(ready)
        self._applier.commit_to(ready.commit)
        for reads, index in ready.reads:
            self._applier.read_at(index, cast("list[Read]", reads))
        for read in cast("list[Read]", ready.dropped_reads):
            read.answer.fail(NotLeaderError(self.core.leader_id))
        for follower in ready.snapshots:
            outbound.send_snapshot(follower)
        for load in ready.loads:
            outbound.load(load)
        for finish, outcome in ready.changes:
            cast(Reply, finish)(outcome)
        if ready.removed is not None:
            outbound.removal_noticed(ready.removed)

    def _soft_changed(self, soft: SoftState) -> None:
        before, self._soft = self._soft, soft
        if before.role is Role.LEADER and (soft.role, soft.term) != (before.role, before.term):
            for _, answer in self._writes.released():
                answer.fail(NotLeaderError(soft.leader_id))
            self._drop_waiters(soft.leader_id)
            self.watches.fail_all(NotLeaderError(soft.leader_id))
        if soft[:3] != before[:3]:
            self._outbound.role_changed(soft.role, soft.term, soft.leader_id)
        if soft.resting is not before.resting:
            self._outbound.rest_changed(soft.resting)

    def _persist(self, ready: Ready) -> None:
        if not ready.must_persist and self._persisting == 0:
            self._durable(ready)
            return
        self._persisting += 1

        def done(error: BaseException | None) -> None:
            self._persisted(ready, error)

        batch = PersistBatch(ready.hard_state, ready.entries, ready.reset)
        self._storage.persist(batch, done)

    def _persisted(self, ready: Ready, error: BaseException | None) -> None:
        """Called on the event loop, never inside a turn; most of the time nothing follows."""
        self._persisting -= 1
        try:
            if error is not None:
                raise error
            self._durable(ready)
            last = ready.entries[-1] if ready.entries else None
            index, term = (last.index, last.term) if last else (NO_INDEX, NO_TERM)
            self.core.persisted(index, term, ready.sequence)
        except Exception as failure:
            self.fail(failure)
            return
        if self.core.has_ready() or self.watches:
            self._take_turn()
        else:
            self._flushes.run()

    def _durable(self, ready: Ready) -> None:
        """What waited for this Ready and all before it to be durable."""
        for to, message in ready.synced_messages:
            self._outbound.send(to, message)
        self._answer(ready.synced_replies)

    def _answer(self, replies: Sequence[tuple[object, object]]) -> None:
        for reply, answer in replies:
            flush = cast(Reply, reply)(answer)
            if flush is not None:
                self._flushes.add(flush)

    def _drop_waiters(self, leader: NodeId | None) -> None:
        """Leadership is lost: the outcome of what was proposed here is no longer ours to tell."""
        self._writes.fail_all(
            ProposalDroppedError(
                f"leadership was lost (leader is now {leader or 'unknown'}); "
                "the write may or may not take effect"
            )
        )


def _dropped(stopped: BaseException) -> ProposalDroppedError:
    """For a write that is in the log when the group stops: the others may still commit it."""
    error = ProposalDroppedError(f"{stopped}; the write may or may not take effect")
    error.__cause__ = stopped
    return error
