"""What can be asked of a group without changing it."""

from __future__ import annotations

from trioraft.node.applier import Applier
from trioraft.node.driver import Driver
from trioraft.node.machine import StateMachine
from trioraft.node.occupancy import Occupancy
from trioraft.node.snapshots import Snapshots
from trioraft.node.status import GroupStatus, member_statuses, role_word
from trioraft.raft.core import RaftCore
from trioraft.raft.errors import GroupStoppedError
from trioraft.raft.types import Configuration, Member, NodeId, Role
from trioraft.storage.interface import GroupStorage

__all__ = ["GroupView"]


class GroupView:
    """The part of `Group` that only looks. Plain calls, from any task, also once it has stopped.

    failure: why the group has stopped, if it was not cancelled.
    """

    group_id: bytes
    failure: BaseException | None
    _node_id: NodeId
    _core: RaftCore
    _storage: GroupStorage
    _machine: StateMachine
    _driver: Driver
    _applier: Applier
    _snapshots: Snapshots
    _running: bool
    _stopped: GroupStoppedError | None

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
    def applied_term(self) -> int:
        """The term of the entry at `applied_index`: the present one once an entry of the present
        leader has come and is applied."""
        return self._applier.applied_term

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

    def occupancy(self) -> list[Occupancy]:
        """How full each of its bounded queues is (`RuntimeSettings`, `SessionLimits`)."""
        return [*self._driver.occupancy(), *self._applier.occupancy()]

    def check_running(self) -> None:
        """Raises GroupStoppedError, from its cause, once the group has stopped."""
        if self._stopped is not None:
            raise GroupStoppedError(str(self._stopped)) from self._stopped.__cause__
