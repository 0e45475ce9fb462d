"""What a node knows of its group: who leads, who the members are, how far the log has come."""

from __future__ import annotations

import trio

from trioraft.node import Group, GroupStatus
from trioraft.raft.types import Configuration, Member, NodeId, Role

__all__ = ["NodeView"]


class NodeView:
    """The observers' side of `Node`: looks and waits, and changes nothing."""

    _group: Group

    @property
    def group(self) -> Group:
        """The group behind this view; for checkers and tests."""
        return self._group

    @property
    def id(self) -> NodeId:
        """Which member of the group this node is."""
        return self._group.node_id

    @property
    def role(self) -> Role:
        """What this node is in the current term."""
        return self._group.role

    @property
    def term(self) -> int:
        """The newest term that this node knows of."""
        return self._group.term

    @property
    def leader(self) -> NodeId | None:
        """Id of the leader of the current term, None while unknown."""
        return self._group.leader_id

    @property
    def configuration(self) -> Configuration:
        """The newest one in this node's log, committed or not."""
        return self._group.configuration

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody in `configuration`: voters, then learners."""
        return self._group.configuration.members()

    @property
    def removed(self) -> bool:
        """This node was a member of the group and is not any more. Added again, it is one."""
        return self._group.admin.removed

    @property
    def commit_index(self) -> int:
        """Index of the last entry that this node knows to be committed, -1 if none."""
        return self._group.commit_index

    @property
    def applied_index(self) -> int:
        """Index of the last entry that the state machine has seen, -1 if none."""
        return self._group.applied_index

    @property
    def resting(self) -> bool:
        """The group is idle, and its heartbeats and timers have stopped; see `open_server`."""
        return self._group.rest.resting

    @property
    def bytes_on_disk(self) -> int:
        """What the log and the snapshots of the group take on this node."""
        return self._group.bytes_on_disk

    @property
    def failure(self) -> BaseException | None:
        """Why the group has stopped on this node; None while it runs."""
        return self._group.failure

    async def wait_leader(self) -> NodeId:
        """Wait until a leader is known; returns its id. Raises GroupStoppedError."""
        while (leader := self._group.leader_id) is None:
            await self._wait_change()
        await trio.lowlevel.checkpoint()
        return leader

    async def wait_role(self, role: Role) -> None:
        """Wait until this node has `role`. Raises GroupStoppedError."""
        while self._group.role is not role:
            await self._wait_change()
        await trio.lowlevel.checkpoint()

    async def wait_stopped(self) -> None:
        """Wait until the group fails, then raise GroupStoppedError from the cause."""
        while self._group.failure is None:
            await self._group.wait_change()
        self._check_running()

    async def wait_change(self) -> None:
        """Wait until role, term or leader changes, or the group stops."""
        await self._group.wait_change()

    def status(self) -> GroupStatus:
        """All of it at once, as `trioraft status` shows it."""
        return self._group.status()

    # -- inside

    def _check_running(self) -> None:
        self._group.check_running()

    async def _wait_change(self) -> None:
        self._check_running()
        await self._group.wait_change()
        self._check_running()
