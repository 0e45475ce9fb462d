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

from collections.abc import Callable, Sequence
from typing import Any, cast

import trio

from trioraft.node.applier import Applier, Read
from trioraft.node.settings import RuntimeSettings
from trioraft.node.writes import Writes
from trioraft.raft.core import RaftCore
from trioraft.raft.errors import NotLeaderError
from trioraft.raft.ready import Ready, SoftState
from trioraft.raft.types import NO_INDEX, NO_TERM, Role
from trioraft.storage.interface import GroupStorage, PersistBatch

from .alarm import Alarm
from .gathering import Gathering
from .inbox import Reply
from .outbound import Outbound

__all__ = ["Driver"]


class Driver(Gathering):
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
        super().__init__(core, storage, applier, settings, writes)
        self._outbound = outbound
        self._flushes = applier.flushes
        self._clock_rate = clock_rate
        self._alarm = Alarm(core, self._doorbell, clock_rate)
        self._set_alarm = self._alarm.set
        self._soft = SoftState(core.role, core.term, core.leader_id)
        self._persisting = 0  # batches that the log writer has not made durable yet
        # Readies with nothing for the disk, but with what waits for the newest of those batches:
        # no more than there are requests of peers without an answer.
        self._behind: list[Ready] = []
        self._open = False  # turns may be taken: the driver's task runs and nothing has failed
        self._in_turn = False
        self._failure: BaseException | None = None  # of a turn; the driver's task raises it

    # -- turns

    async def run(self) -> None:
        """Runs until cancelled, or until the core or the storage raises, in whichever turn.

        Cancelling is safe at any time: what was not made durable was not acknowledged.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._alarm.run)
            self._open = True
            try:
                while True:
                    await self._doorbell.wait()
                    self._take_turn(gathered=True)
                    if self._failure is not None:
                        raise self._failure
            finally:
                self._open = False

    def settle(self) -> None:
        """Take a turn at once with the messages that wait, in the caller's task.

        Bounded work: what one read of a socket brought. Never waits and raises nothing. Inside a
        turn, and while the driver's task does not run, the messages wait for the next turn.
        """
        if self._messages:
            self._take_turn()

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

    def stop(self, error: BaseException) -> None:
        """The group has stopped: every caller that waits is told so."""
        self._stopped = error
        self._fail_gathered(error)
        self._fail_inbox(error)

    def flush_later(self, flush: Callable[[], Any]) -> None:
        """Call `flush` at the end of the turn, or before it waits for the disk."""
        self._flushes.add(flush)

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
            self._leadership_lost(soft.leader_id)
        if soft[:3] != before[:3]:
            self._outbound.role_changed(soft.role, soft.term, soft.leader_id)
        if soft.resting is not before.resting:
            self._outbound.rest_changed(soft.resting)

    def _persist(self, ready: Ready) -> None:
        if not ready.must_persist:
            if not self._persisting:
                self._durable(ready)
            elif ready.synced_messages or ready.synced_replies:
                self._behind.append(ready)
            return
        self._persisting += 1
        behind: list[Ready] = []
        self._behind = behind

        def done(error: BaseException | None) -> None:
            self._persisted(ready, behind, error)

        batch = PersistBatch(ready.hard_state, ready.entries, ready.reset)
        self._storage.persist(batch, done)

    def _persisted(self, ready: Ready, behind: list[Ready], error: BaseException | None) -> None:
        """Called on the event loop, never inside a turn; most of the time nothing follows."""
        self._persisting -= 1
        try:
            if error is not None:
                raise error
            self._durable(ready)
            for other in behind:
                self._durable(other)
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
