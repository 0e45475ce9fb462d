"""What applications and operators ask of a group."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trioraft.node.applier import Read
from trioraft.node.driver import Driver
from trioraft.node.sessions import MAX_CLIENT_ID_BYTES
from trioraft.node.wakeups import Answer, Slot
from trioraft.node.writes import WriteResult
from trioraft.raft.errors import ConfigurationError, NoQuorumError, NotLeaderError
from trioraft.raft.types import (
    NO_INDEX,
    NodeId,
    Proposal,
    ReplicationLevel,
    Role,
    Session,
    SnapshotMeta,
)

from .view import GroupView

__all__ = ["GroupCalls"]

# Seconds. The core tells of new roles, but a handover that it gives up ends in the role that it
# began in: whoever waits for it looks now and then.
_TRANSFER_POLL = 0.05


class GroupCalls(GroupView):
    """The part of `Group` that its callers wait for, or have an `Answer` of their own for."""

    _driver: Driver
    _changed: trio.Event  # set at the next change of role, term or leader, then replaced

    async def propose(self, data: bytes, session: Session | None = None) -> bytes:
        """As `write`; returns the machine's reply alone."""
        return (await self.write(data, session)).reply

    async def write(self, data: bytes, session: Session | None = None) -> WriteResult:
        """Replicate a write; returns the machine's reply, and where it stands in the log, once

        it is applied here. With a session, a call that is or was under way is not applied again,
        and gets the answer of the first.

        Raises NotLeaderError, OverloadedError, EntryTooLargeError, ProposalDroppedError,
        SessionExpiredError, ConfigurationError (a client id above 64 bytes), GroupStoppedError.
        Cancelling stops waiting; the write may still take effect.
        """
        if session is not None and len(session.client_id) > MAX_CLIENT_ID_BYTES:
            raise ConfigurationError(
                f"client id of {len(session.client_id)} bytes: at most {MAX_CLIENT_ID_BYTES}"
            )
        return await self._driver.propose(Proposal(data, session)).wait()

    def write_for(self, answer: Answer[WriteResult], data: bytes) -> None:
        """As `write`, for a caller without a task: the outcome goes to `answer`.

        Raises OverloadedError and GroupStoppedError at once; the others go to `answer` too.
        """
        self._driver.propose_for(answer, Proposal(data))

    def flush_later(self, flush: Callable[[], None]) -> None:
        """Call `flush` once the work in hand is done: for an answer that queues on a connection."""
        self._applier.flushes.add(flush)

    def query_for(self, answer: Answer[bytes], request: bytes) -> None:
        """As `query`, for a caller without a task. Raises as `write_for`."""
        self._driver.read(Read(request, answer))

    async def read_index(self) -> int:
        """The index that a linearizable read must wait for (thesis §6.4). Leader only."""
        answer: Slot[int] = Slot()
        self._driver.read(Read(None, answer))
        return await answer.wait()

    async def query(self, request: bytes) -> bytes:
        """A linearizable query, on the leader. Raises NotLeaderError, OverloadedError."""
        answer: Slot[bytes] = Slot()
        self._driver.read(Read(request, answer))
        return await answer.wait()

    async def query_at(self, request: bytes, index: int) -> bytes:
        """A query of this replica once it has applied `index` (-1: as it is).

        Raises OverloadedError, GroupStoppedError. Cancelling is safe.
        """
        self._driver.check_running()
        if index > self._applier.applied:
            await self._applier.waits.wait(index)
        answer: Slot[bytes] = Slot()
        self._applier.read_at(NO_INDEX, [Read(request, answer)])
        return await answer.wait()

    async def watch(self, index: int, level: ReplicationLevel) -> int:
        """Wait until the entry at `index`, existing or not, is replicated as far as `level` says.

        Returns the index that has come so far, `index` or a later one. Only the leader can tell,
        but for MAJORITY of what this node knows to be committed. Raises NotLeaderError (also
        when leadership is lost meanwhile), OverloadedError, GroupStoppedError. Bound it with a
        cancel scope: a voter that is down may hold it up for ever. Cancelling is safe.
        """
        self._driver.check_running()
        core = self._core
        leads = core.role is Role.LEADER
        if leads:
            reached = core.replicated(level)
        else:
            reached = core.commit if level is ReplicationLevel.MAJORITY else NO_INDEX
        if reached >= index:
            await trio.lowlevel.checkpoint()
            return reached
        if not leads:
            raise NotLeaderError(core.leader_id)
        return await self._driver.watches.wait(index, level)

    async def take_snapshot(self) -> SnapshotMeta:
        """Snapshot the state machine now and compact the log behind it."""
        self._driver.check_running()
        return await self._snapshots.take()

    async def transfer_leadership(self, target: NodeId | None = None) -> NodeId:
        """Hand leadership to `target`, or to the best voter; returns who leads now.

        That is `target` if one was named, as etcd and Ratis have it: another that wins the
        election is an error, though leadership has moved. Raises NotLeaderError if this node does
        not lead, ChangeInProgressError, ConfigurationError for a target that cannot lead,
        GroupStoppedError, and NoQuorumError, whose message says which, if the target refuses or
        does not take over within the longest election timeout (this node leads on, and takes
        writes again), if another won, or if no leader is heard of for two of those timeouts.
        Cancelling stops waiting, not the transfer.
        """
        core = self._core
        heir = await self._driver.ask(lambda now: core.transfer_leadership(target, now)).wait()
        term = core.term
        while core.role is Role.LEADER and core.term == term:
            self._driver.check_running()
            if core.handover_refused_by == heir:
                raise NoQuorumError(
                    f"{heir} refuses to take over, {self._node_id} leads on: "
                    f"resume its elections if they are paused, or choose another voter"
                )
            if core.transferring_to != heir:
                raise NoQuorumError(
                    f"{heir} did not take over in time, {self._node_id} leads on: "
                    f"check that {heir} runs and keeps up, then try again"
                )
            await self._changed_soon()
        leader = await self._next_leader()
        if target is not None and leader != target:
            raise NoQuorumError(
                f"{leader} has won the election and leads now, not {target}: "
                f"hand leadership over from there if it must be {target}"
            )
        return leader

    async def _next_leader(self) -> NodeId:
        """Who leads, once that is known here. Raises NoQuorumError, GroupStoppedError."""
        core = self._core
        patience = 2 * core.config.election_timeout_max
        deadline = trio.current_time() + patience
        while (leader := core.leader_id) is None:
            self._driver.check_running()
            if trio.current_time() >= deadline:
                raise NoQuorumError(
                    f"{self._node_id} leads no more, and has heard of no new leader "
                    f"for {patience:g} s: check the other nodes"
                )
            await self._changed_soon()
        return leader

    async def _changed_soon(self) -> None:
        with trio.move_on_after(_TRANSFER_POLL):
            await self._changed.wait()

    async def wait_change(self) -> None:
        """Wait until role, term or leader changes, or the group stops. Cancelling is safe."""
        await self._changed.wait()
