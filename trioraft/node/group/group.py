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

import trio

from trioraft.node.inbound import GroupInbound
from trioraft.node.machine import StateMachine
from trioraft.node.membership import GroupAdmin, removed_error
from trioraft.node.peers import PeerConnector
from trioraft.node.rest import GroupRest
from trioraft.node.settings import RuntimeSettings
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import GroupStoppedError, StorageError
from trioraft.raft.types import Configuration, NodeId
from trioraft.storage.interface import GroupStorage

from .calls import GroupCalls
from .parts import build_parts
from .recovery import recovered_core

__all__ = ["Group"]

logger = logging.getLogger(__name__)


class Group(GroupCalls):
    """A group's runtime. Build it, `run` it in the host's nursery, use it from anywhere.

    inbound: what dialects call for requests of peers.
    admin: what operators ask of it.
    rest: what the host of many groups asks of it.
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
        self._storage = storage
        self._machine = machine
        self._changed, self._running = trio.Event(), False
        self._stopped: GroupStoppedError | None = None
        self.failure: BaseException | None = None
        core = recovered_core(storage, node_id, configuration, config, rng, clock_rate)
        parts = build_parts(
            name=f"{node_id}/{group_id.hex()[-8:]}",
            core=core,
            settings=settings,
            storage=storage,
            machine=machine,
            connector=connector,
            vote_timeout=config.election_timeout_min,
            rng=rng,
            clock_rate=clock_rate,
            on_change=self._signal_change,
            on_rest=lambda resting: self.rest.on_change(resting),
        )
        self._core = core
        self._applier = parts.applier
        self._snapshots = parts.snapshots
        self._peers = parts.peers
        self._outbound = parts.outbound
        self._driver = driver = parts.driver
        self.admin = GroupAdmin(core, driver)
        self.rest = GroupRest(group_id, core, driver)
        self.inbound = GroupInbound(driver, parts.snapshots, machine, storage, settings)

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
            self.failure = cause = _first_leaf(error)
            # A disk that fails is nobody's mistake: what it says is all there is to know.
            trace = None if isinstance(cause, StorageError) else error
            name = self.group_id.hex()
            logger.error("group %s on %s stopped: %s", name, self._node_id, cause, exc_info=trace)
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

    def _signal_change(self) -> None:
        self.inbound.leader_changed()
        if self._core.removed:
            self._applier.refuse_reads(removed_error(self._node_id))
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
