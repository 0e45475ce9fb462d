"""A node as an application uses it: propose, query, and follow who leads."""

from __future__ import annotations

from collections.abc import Callable

import trio

from trioraft.node import (
    Answer,
    Forwarder,
    Group,
    PeerUnreachableError,
    SharedRound,
    WriteResult,
)
from trioraft.raft.errors import ForeignLeaderError, NotLeaderError, TrioraftError
from trioraft.raft.types import (
    NO_INDEX,
    ReplicationLevel,
    Role,
    Session,
    SnapshotMeta,
)

from .admin import NodeAdmin
from .host import Host

__all__ = ["Node"]


class Node(NodeAdmin):
    """One node of one group, open for as long as its `open_node` block.

    Every method can be called from any task of the Trio run.
    """

    def __init__(
        self,
        *,
        host: Host,
        group: Group,
        forwarder: Forwarder,
        patience: float,
        retry_interval: float,
        max_reads: int,
    ) -> None:
        self._host = host
        self._group = group
        self._forwarder = forwarder
        self._read_round = SharedRound(self._ask_read_index, max_reads)
        self._patience = patience
        self._retry_interval = retry_interval
        self.address = host.address
        self.cluster = host.cluster

    # -- writes and reads

    async def propose(
        self, data: bytes, *, session: Session | None = None, forward: bool = True
    ) -> bytes:
        """Replicate a write; returns the state machine's reply.

        A follower forwards it to the leader; with `forward=False` it raises NotLeaderError.
        While no leader is known it waits, up to ten election timeouts.

        Raises: ConfigurationError (a session that the dialect cannot carry), NoQuorumError
        (not proposed: retry), ProposalDroppedError (may or may not take effect),
        SessionExpiredError, OverloadedError, EntryTooLargeError, GroupStoppedError. Cancelling
        stops waiting; the write may still take effect.
        """
        return (await self.write(data, session=session, forward=forward)).reply

    async def write(
        self, data: bytes, *, session: Session | None = None, forward: bool = True
    ) -> WriteResult:
        """As `propose`; returns the reply with the write's index in the log, for `min_index` of
        `query` and for `watch`."""
        if session is not None:
            self._host.dialect.check_session(session)
        deadline = trio.current_time() + self._patience
        while True:
            group = self._group
            try:
                if group.role is Role.LEADER:
                    return await group.write(data, session)
                leader = group.leader
                if leader is not None and forward:
                    return await self._forwarder.write(leader, data, session)
                if not forward:
                    self._check_running()
                    raise NotLeaderError(leader.id if leader else None)
            except (NotLeaderError, PeerUnreachableError) as error:  # it had no effect
                if not forward or isinstance(error, ForeignLeaderError):
                    raise
            await self._wait_retry(deadline)

    def write_for(self, answer: Answer[WriteResult], data: bytes) -> bool:
        """Replicate a write without a task, if this node leads; the outcome goes to `answer`.

        False: nothing has happened, `write` finds out more. `answer` may get NotLeaderError:
        nothing has happened then, too. Never waits.
        """
        if self._group.role is not Role.LEADER:
            return False
        try:
            self._group.write_for(answer, data)
        except TrioraftError:
            return False
        return True

    def query_for(self, answer: Answer[bytes], request: bytes) -> bool:
        """A linearizable query without a task, if this node leads; as `write_for`."""
        if self._group.role is not Role.LEADER:
            return False
        try:
            self._group.query_for(answer, request)
        except TrioraftError:
            return False
        return True

    def flush_later(self, flush: Callable[[], None]) -> None:
        """Call `flush` when the group has done what it is at: the end of the turn. Never waits."""
        self._group.flush_later(flush)

    async def query(
        self, request: bytes, *, linearizable: bool = True, min_index: int = NO_INDEX
    ) -> bytes:
        """Ask the state machine. Linearizable: sees every write acknowledged before the call.

        Otherwise it answers from this replica as it is, which may lag behind, as soon as that
        has applied `min_index`: the index of a write (`WriteResult`) makes it a read after that
        write. It waits for as long as that takes; bound it with a cancel scope.

        On a node that does not lead, all linearizable reads that wait share one question to the
        leader. The same errors as `propose`, and what the machine's `query` raises; a node that
        was removed answers only what it has applied, else NoQuorumError. Cancelling is safe.
        """
        if linearizable or min_index > self._group.applied_index:
            self._group.admin.check_member()
        if not linearizable:
            return await self._group.query_at(request, min_index)
        deadline = trio.current_time() + self._patience
        while True:
            group = self._group
            try:
                if group.role is Role.LEADER:
                    return await group.query(request)
                if group.leader is not None:
                    return await group.query_at(request, await self._read_round.get())
            except ForeignLeaderError:
                raise
            except (NotLeaderError, PeerUnreachableError):
                pass  # leadership is moving: ask again once it has settled
            await self._wait_retry(deadline)

    async def read_index(self) -> int:
        """The index a linearizable read must wait for. Raises NotLeaderError on a follower."""
        return await self._group.read_index()

    async def snapshot(self) -> SnapshotMeta:
        """Take a snapshot now and compact the log behind it."""
        return await self._group.take_snapshot()

    async def watch(
        self,
        index: int,
        level: ReplicationLevel = ReplicationLevel.ALL_COMMITTED,
        *,
        forward: bool = True,
    ) -> int:
        """Wait until the entry at `index` is replicated as far as `level` says.

        Returns how far that level is, `index` or more. A follower asks the leader; with
        `forward=False` it raises NotLeaderError. It waits for as long as it takes, through
        changes of leader: bound it with a cancel scope. Cancelling is safe. Raises
        OverloadedError, NoQuorumError (no leader for ten election timeouts), GroupStoppedError.
        """
        while True:
            try:
                return await self._group.watch(index, level)
            except NotLeaderError:
                if not forward:
                    raise
            if (reached := await self._watch_at_leader(index, level)) is not None:
                return reached

    # -- the end

    async def stop(self, grace: float | None = None, *, notice: float = 0.0) -> None:
        """Stop serving in good order; returns when every connection has ended.

        1. Health is NOT_SERVING, and its watchers are sent away.
        2. For `notice` seconds everything goes on, so that load balancers can take heed.
        3. If this node leads, it hands over; it will not lead again.
        4. The address is closed. Clients get GOAWAY: calls under way go on, new ones go elsewhere.
           The streams of peers go on under them, and end with the last.
        5. `grace` seconds after step 2, calls that are still open end with UNAVAILABLE. None waits
           for as long as they take; with 0 they end at once, and nothing is handed over.

        The group runs until the `open_node` block is left, which is to follow: no peer reaches this
        node any more, so it learns nothing new. For a group of
        `open_server` this is `Server.stop`: they share the address.

        Called again, also while it runs, the earlier end counts. Cancelling undoes nothing: only
        the waiting ends, and what would have followed.
        """
        await self._host.stop(grace, notice)

    # -- inside

    async def _watch_at_leader(self, index: int, level: ReplicationLevel) -> int | None:
        """One question to the leader; None if the answer is open, or if this node leads now."""
        deadline = trio.current_time() + self._patience
        while self._group.role is not Role.LEADER:
            if (leader := self._group.leader) is not None:
                try:
                    return await self._forwarder.watch(leader, index, level)
                except ForeignLeaderError:
                    raise
                except (NotLeaderError, PeerUnreachableError):
                    pass  # leadership is moving: ask again once it has settled
            await self._wait_retry(deadline)
        return None

    async def _ask_read_index(self) -> int:
        if (leader := self._group.leader) is None:
            raise NotLeaderError(None)
        return await self._forwarder.read_index(leader)
