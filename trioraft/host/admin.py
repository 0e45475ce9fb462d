"""What operators can ask of any node: other members, another leader, no elections for a while.

What concerns the group is done by its leader; other nodes pass it on, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import trio

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import StatusReply, StatusRequest
from trioraft.node import PeerUnreachableError
from trioraft.protocols.local import AnswerLostError, admin
from trioraft.raft.errors import (
    ConfigurationError,
    LeaderNotReadyError,
    NoQuorumError,
    NotLeaderError,
    ProposalDroppedError,
)
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, Member, NodeId, Role
from trioraft.rpc import Channel, GRPCError, Status

from .environment import split_address
from .host import Host
from .view import NodeView

__all__ = ["NodeAdmin"]

T = TypeVar("T")

_IDENTIFY_TIMEOUT = 2.0  # seconds that a node which is to be added may take to say who it is


class NodeAdmin(NodeView):
    """The operators' side of `Node`."""

    _host: Host
    _patience: float
    _retry_interval: float

    # -- members

    async def change_membership(
        self, change: MembershipChange, *, forward: bool = True
    ) -> Configuration:
        """Change the members of the group; returns them once the change is committed.

        New voters are brought up to date first, which takes as long as it takes: bound it with
        a cancel scope. Cancelling gives the change up while that goes on; later only the
        waiting ends. While no leader is known this waits, up to ten election timeouts.

        Raises, with nothing changed: ConfigurationError (members that cannot be),
        ChangeInProgressError, ConfigurationMismatchError, StagingTimeoutError, NoQuorumError,
        and with `forward=False` NotLeaderError. ProposalDroppedError: leadership was lost, the
        change may or may not happen; look at `members`. GroupStoppedError.
        """
        named = (*change.voters, *change.learners, *change.members)
        self._host.dialect.check_members(Configuration(named))
        for member in named:
            split_address(member.address)
        return await self._at_leader(
            lambda: self._group.admin.change_membership(change),
            lambda channel: admin.change_membership(
                channel, change, group_id=self._group.group_id, forwarded=True
            ),
            forward,
        )

    async def add_member(
        self, id: NodeId, address: str, *, learner: bool = False, priority: int = 0
    ) -> Configuration:
        """Add a node that was started with `join`. Raises as `change_membership`.

        A learner gets the log and has no vote.
        """
        member = (Member(id, address, priority),)
        change = MembershipChange.add(learners=member) if learner else MembershipChange.add(member)
        return await self.change_membership(change)

    async def update_member(
        self, id: NodeId, address: str | None = None, *, priority: int | None = None
    ) -> Configuration:
        """Change where a member is dialled, or its priority. Raises as `change_membership`."""
        present = self._group.configuration.member(id)
        if present is None:
            known = ", ".join(m.id for m in self._group.configuration.members())
            raise ConfigurationError(f"{id} is not a member; members are {known}")
        wanted = Member(
            id,
            present.address if address is None else address,
            present.priority if priority is None else priority,
        )
        return await self.change_membership(MembershipChange.update(wanted))

    async def identify(self, address: str) -> NodeId:
        """The id of the node that waits at `address` to be added to this cluster.

        Raises ConfigurationError if nobody answers there, or it is of another cluster.
        """
        split_address(address)
        with self._host.visit(address) as channel:
            try:
                found = await _ask_status(channel)
            except GRPCError as error:
                raise ConfigurationError(
                    f"no node answers at {address} ({error.message}): start it with --join first"
                ) from error
        ours = (self._host.cluster, self._host.dialect.name)
        if (found.cluster, found.wire) != ours:
            raise ConfigurationError(
                f"the node at {address} is of cluster {found.cluster!r} and speaks {found.wire}; "
                f"this is {ours[0]!r} and speaks {ours[1]}"
            )
        return found.node_id

    async def remove_member(self, *ids: NodeId) -> Configuration:
        """Remove voters or learners; this node, too. Raises as `change_membership`."""
        return await self.change_membership(MembershipChange.remove(*ids))

    async def promote(self, *ids: NodeId) -> Configuration:
        """Make voters of learners. Raises as `change_membership`."""
        return await self.change_membership(MembershipChange.promote(*ids))

    async def demote(self, *ids: NodeId) -> Configuration:
        """Make learners of voters. Raises as `change_membership`."""
        return await self.change_membership(MembershipChange.demote(*ids))

    async def set_members(
        self,
        voters: Iterable[Member],
        learners: Iterable[Member] = (),
        *,
        expected: Configuration | None = None,
    ) -> Configuration:
        """Have exactly these members; with `expected` only if its members are the present ones.

        Raises as `change_membership`.
        """
        wanted = tuple(voters), tuple(learners)
        if expected is None:
            return await self.change_membership(MembershipChange.set(*wanted))
        return await self.change_membership(MembershipChange.compare_and_set(expected, *wanted))

    # -- leadership and elections

    async def transfer_leadership(
        self, target: NodeId | None = None, *, forward: bool = False
    ) -> NodeId:
        """Hand leadership over, to `target` or the best voter; returns who leads now.

        With `forward` the leader is asked for it from any node; without, a node that does not
        lead raises NotLeaderError. If a named target does not get it, NoQuorumError says why, and
        who leads; see `Group.transfer_leadership` for the others. Cancelling stops waiting, not
        the transfer.
        """
        return await self._at_leader(
            lambda: self._group.transfer_leadership(target),
            lambda channel: admin.transfer_leadership(
                channel, target, group_id=self._group.group_id, forwarded=True
            ),
            forward,
        )

    async def step_down(self) -> None:
        """Stop leading and let the others elect. Raises NotLeaderError, GroupStoppedError."""
        await self._group.admin.step_down()

    async def pause_elections(self) -> None:
        """Keep this node from standing for election until `resume_elections` or a restart.

        It votes and follows as before, and leads on if it leads. Raises GroupStoppedError.
        """
        await self._group.admin.pause_elections()

    async def resume_elections(self) -> None:
        """Let this node stand for election again. Raises GroupStoppedError."""
        await self._group.admin.resume_elections()

    # -- inside

    async def _at_leader(
        self,
        here: Callable[[], Awaitable[T]],
        there: Callable[[Channel], Awaitable[T]],
        forward: bool,
    ) -> T:
        """Do it if this node leads, else have the leader do it; while there is none, wait."""
        deadline = trio.current_time() + self._patience
        while True:
            try:
                if self._group.role is Role.LEADER or not forward:
                    return await here()
                if (leader := self._group.leader) is not None:
                    return await self._ask(leader, self._host.channel_to(leader), there)
            except (NotLeaderError, PeerUnreachableError):  # it had no effect
                if not forward:
                    raise
            except LeaderNotReadyError:
                if trio.current_time() >= deadline:
                    raise
            await self._wait_retry(deadline)

    @staticmethod
    async def _ask(leader: Member, channel: Channel, there: Callable[[Channel], Awaitable[T]]) -> T:
        try:
            return await there(channel)
        except AnswerLostError as error:
            raise ProposalDroppedError(
                f"the call to the leader {leader.id} broke off ({error}); what was asked for may "
                "or may not happen"
            ) from error

    async def _wait_retry(self, deadline: float) -> None:
        """Wait for leadership to change, or a moment.

        Raises NoQuorumError at the deadline, and at once on a node that was removed.
        """
        self._check_running()
        self._group.admin.check_member()
        if trio.current_time() >= deadline:
            raise NoQuorumError(
                f"no leader could be reached within {self._patience:g} s; {self._advice()}"
            )
        with trio.move_on_after(self._retry_interval):
            await self._group.wait_change()

    def _advice(self) -> str:
        configuration = self._group.configuration
        if not configuration.voters:
            return "this node waits to be added to a cluster (trioraft admin add ID=HOST:PORT)"
        names = ", ".join(m.id for m in configuration.members())
        return f"check that a majority of {names} is running"


async def _ask_status(channel: Channel) -> StatusReply:
    """A node's status. Raises GRPCError.

    Who has asked in vain before has the channel pause between attempts to connect, and the node
    may have been started since: that pause is waited for once.
    """
    try:
        return await _status(channel, wait_for_ready=False)
    except GRPCError as first:
        if first.status is not Status.UNAVAILABLE:
            raise
        try:
            return await _status(channel, wait_for_ready=True)
        except GRPCError:
            raise first from None  # it says more than that the time is up


async def _status(channel: Channel, *, wait_for_ready: bool) -> StatusReply:
    stub = NodeServiceStub(channel.with_options(wait_for_ready=wait_for_ready))
    reply: StatusReply = await stub.Status(StatusRequest(), timeout=_IDENTIFY_TIMEOUT)
    return reply
