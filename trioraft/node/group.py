"""One consensus group on one node: the nursery that holds its driver, applier and leadership.

    group
    ├── driver
    ├── applier
    ├── campaign        while this node asks for votes
    └── leadership      exactly while this node leads
        └── replicator × follower

The log writer belongs to the host: one per disk, shared by its groups.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import trio

from trioraft.raft.config import RaftConfig
from trioraft.raft.core import RaftCore
from trioraft.raft.errors import (
    ConfigurationError,
    GroupStoppedError,
    NoQuorumError,
    NotLeaderError,
)
from trioraft.raft.log import RaftLog
from trioraft.raft.types import (
    NO_INDEX,
    Configuration,
    Member,
    NodeId,
    Proposal,
    ReplicationLevel,
    Role,
    Session,
    SnapshotMeta,
)
from trioraft.storage.interface import GroupStorage

from .applier import Applier, Read
from .compaction import keep_after
from .driver import Driver
from .inbound import GroupInbound
from .machine import StateMachine
from .membership import GroupAdmin, removed_error
from .outbound import GroupOutbound
from .peer_set import PeerSet
from .peers import PeerConnector
from .rest import GroupRest
from .sessions import MAX_CLIENT_ID_BYTES, SessionTable
from .settings import RuntimeSettings
from .snapshots import Snapshots
from .status import GroupStatus, member_statuses, role_word
from .wakeups import Answer, Doorbell, Slot
from .writes import WriteResult, Writes

__all__ = ["Group"]

logger = logging.getLogger(__name__)

_TRANSFER_POLL = 0.05  # seconds


class Group:
    """A group's runtime. Build it, `run` it in the host's nursery, use it from anywhere.

    `inbound` is what dialects call for requests of peers. Failures are reported in `failure`.
    """

    def __init__(
        self,
        *,
        group_id: bytes,
        node_id: NodeId,
        configuration: Configuration,
        config: RaftConfig,
        settings: RuntimeSettings,
        storage: GroupStorage,
        machine: StateMachine,
        connector: PeerConnector,
        rng: random.Random,
        clock_rate: float = 1.0,
    ) -> None:
        """clock_rate: how fast this node's clock runs; other than 1.0 only in simulations.

        Raises ConfigurationError if the machine can't do what `settings` want of it.
        """
        self.group_id = group_id
        self._node_id = node_id
        self._settings = settings
        self._storage = storage
        self._machine = machine
        core = _recovered_core(storage, node_id, configuration, config, rng, clock_rate)
        self._core = core
        self._changed, self._running = trio.Event(), False
        self._stopped: GroupStoppedError | None = None
        self.failure: BaseException | None = None
        sessions = SessionTable(settings.sessions)
        writes = Writes(sessions)
        applier_bell = Doorbell()
        self._snapshots = Snapshots(
            machine=machine,
            sessions=sessions,
            storage=storage,
            settings=settings,
            configuration_at=core.configuration_at,
            on_snapshot=self._snapshot_taken,
            doorbell=applier_bell,
        )
        self._applier = Applier(
            machine=machine,
            log=core.log,
            storage=storage,
            settings=settings,
            sessions=sessions,
            writes=writes,
            snapshots=self._snapshots,
            doorbell=applier_bell,
        )
        self._peers = PeerSet(node_id, connector)
        self._outbound = GroupOutbound(
            name=f"{node_id}/{group_id.hex()[-8:]}",
            core=core,
            storage=storage,
            peers=self._peers,
            settings=settings,
            vote_timeout=config.election_timeout_min,
            rng=rng,
            on_change=self._signal_change,
            on_rest=lambda resting: self.rest.on_change(resting),
        )
        self._driver = Driver(
            core=core,
            storage=storage,
            applier=self._applier,
            outbound=self._outbound,
            settings=settings,
            writes=writes,
            clock_rate=clock_rate,
        )
        self.admin = GroupAdmin(core, self._driver)
        self.rest = GroupRest(group_id, core, self._driver)
        self.inbound = GroupInbound(self._driver, self._snapshots, machine, storage, settings)

    # -- running

    async def run(self) -> None:
        """Run until cancelled. An error from core, storage or machine ends this group alone:

        it is logged, kept in `failure`, and `run` returns. Every waiting call gets
        GroupStoppedError; a write that is in the log already gets ProposalDroppedError, because
        the others may still commit it. Cancelling stops the group at once; what was acknowledged
        is durable.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._running = True
                self._storage.watch(self._driver.fail)
                self._peers.follow(self._core.peers)
                self._outbound.start(nursery, self._driver)
                nursery.start_soon(self._applier.run)
                nursery.start_soon(self._snapshots.run)
                nursery.start_soon(self.inbound.run)
                nursery.start_soon(self._driver.run)
        except* Exception as error:
            logger.error(
                "group %s on %s stopped", self.group_id.hex(), self._node_id, exc_info=error
            )
            self.failure = _first_leaf(error)
        finally:
            self._running = False
            self._peers.close()
            self._stop(self.failure)

    def _stop(self, cause: BaseException | None) -> None:
        error = GroupStoppedError(
            f"the group has stopped on node {self._node_id}" + (f": {cause}" if cause else "")
        )
        error.__cause__ = cause
        self._stopped = error
        self._driver.stop(error)
        self.admin.stop(error)
        self._applier.stop(error)
        self._signal_change()

    # -- views

    @property
    def node_id(self) -> NodeId:
        return self._node_id

    @property
    def core(self) -> RaftCore:
        """To look at, for checkers and tests: the driver alone may touch it."""
        return self._core

    @property
    def role(self) -> Role:
        """What this node is in `term`; FOLLOWER once the group has stopped here."""
        return self._core.role if self._stopped is None else Role.FOLLOWER

    @property
    def term(self) -> int:
        return self._core.term

    @property
    def leader_id(self) -> NodeId | None:
        """The leader of the current term, if this node knows it; None once it has stopped."""
        return self._core.leader_id if self._stopped is None else None

    @property
    def leader(self) -> Member | None:
        """As `leader_id`, with its address."""
        leader = self.leader_id
        return None if leader is None else self._core.configuration.member(leader)

    @property
    def configuration(self) -> Configuration:
        return self._core.configuration

    @property
    def commit_index(self) -> int:
        return self._core.commit

    @property
    def applied_index(self) -> int:
        return self._applier.applied

    @property
    def bytes_on_disk(self) -> int:
        return self._storage.size_on_disk()

    def status(self) -> GroupStatus:
        core = self._core
        return GroupStatus(
            group_id=self.group_id,
            role=role_word(self._node_id, core.role, core.configuration, running=self._running),
            term=core.term,
            leader=self.leader_id,
            last_index=core.last_index,
            commit_index=core.commit,
            applied_index=self._applier.applied,
            snapshot_index=self._snapshots.index,
            bytes_on_disk=self._storage.size_on_disk(),
            members=member_statuses(core),
            machine=dict(self._machine.describe()),
            failure=None if self.failure is None else str(self.failure),
            elections_paused=core.elections_paused,
            resting=core.resting,
        )

    async def wait_change(self) -> None:
        """Wait until role, term or leader changes, or the group stops. Cancelling is safe."""
        await self._changed.wait()

    def check_running(self) -> None:
        """Raises GroupStoppedError, from its cause, once the group has stopped."""
        if self._stopped is not None:
            raise GroupStoppedError(str(self._stopped)) from self._stopped.__cause__

    # -- calls of the application, on the leader

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
        """Hand leadership to `target`, or to the most caught-up voter; returns who got it.

        Raises NotLeaderError if this node does not lead, ConfigurationError for an unknown
        target, NoQuorumError if the target did not take over within an election timeout (this
        node leads on), GroupStoppedError. Cancelling stops waiting, not the transfer.
        """
        core = self._core
        heir = await self._driver.ask(lambda now: core.transfer_leadership(target, now)).wait()
        while core.role is Role.LEADER:
            self._driver.check_running()
            if core.transferring_to != heir:
                raise NoQuorumError(
                    f"{heir} did not take over in time, {self._node_id} leads on: "
                    f"check that {heir} runs and keeps up, then try again"
                )
            with trio.move_on_after(_TRANSFER_POLL):  # giving up changes no role: look now and then
                await self._changed.wait()
        return heir

    # -- inside

    def _snapshot_taken(self, meta: SnapshotMeta, before: int) -> None:
        core = self._core

        def compact(_now: float) -> None:
            found = [core.progress(member.id) for member in core.configuration.members()]
            followers = [follower for follower in found if follower is not None]
            core.compact(meta, keep_after(meta.index, before, followers, self._settings))
            base = core.log.base_index
            if base >= 0:
                self._storage.compact(base, core.log.base_term)

        self._driver.call(compact)

    def _signal_change(self) -> None:
        self.inbound.leader_changed()
        if self._core.removed:
            self._applier.refuse_reads(removed_error(self._node_id))
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _recovered_core(
    storage: GroupStorage,
    node_id: NodeId,
    bootstrap: Configuration,
    config: RaftConfig,
    rng: random.Random,
    clock_rate: float,
) -> RaftCore:
    """The core as the disk remembers it; `bootstrap` counts until a snapshot or entry says more."""
    found = storage.recovered
    log = RaftLog.recovered(
        base_index=found.base_index,
        base_term=found.base_term,
        last_index=found.last_index,
        term_runs=found.term_runs,
        configurations=found.configurations,
        tail=found.tail,
        max_cached_bytes=config.max_cached_bytes,
    )
    snapshot = found.snapshot
    return RaftCore(
        node_id=node_id,
        config=config,
        configuration=snapshot.configuration if snapshot else bootstrap,
        log=log,
        hard_state=found.hard_state,
        rng=rng,
        now=trio.current_time() * clock_rate,
        commit=snapshot.index if snapshot else found.base_index,
        configuration_index=snapshot.configuration_index if snapshot else NO_INDEX,
    )


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
