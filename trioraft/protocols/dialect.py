"""What a peer dialect is: the translation between a group and one way of speaking on the wire.

A dialect holds no state of a group and decides nothing: it makes core messages out of wire
messages and back. The host asks it for the group's rules, for the services to listen with and
for one transport per follower to dial with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trioraft.node.peers import PeerRouter, PeerTransport
from trioraft.raft.config import RaftConfig
from trioraft.raft.types import Configuration, Member, NodeId, Session

if TYPE_CHECKING:
    from trioraft.rpc import Channel, Service

__all__ = ["Dialect"]


class Dialect(Protocol):
    """One way for the nodes of a group to talk to each other."""

    @property
    def name(self) -> str:
        """What users type: `--wire ratis`."""

    @property
    def max_message_bytes(self) -> int:
        """The largest gRPC message that a peer of this kind sends; receive limits must allow it."""

    def config(self, base: RaftConfig) -> RaftConfig:
        """`base` with the rules and size limits that this dialect imposes on a group."""

    def check_members(self, configuration: Configuration) -> None:
        """Raise ConfigurationError if the wire cannot express these members."""

    def check_session(self, session: Session) -> None:
        """Raise ConfigurationError if the wire cannot carry this session with a write.

        To be asked before a write is proposed: an entry that cannot be sent would stop the group.
        """

    async def read_index(
        self, *, group_id: bytes, self_id: NodeId, leader: Member, channel: Channel
    ) -> int:
        """Ask a leader of another make for the index that a linearizable read must wait for.

        Raises NotLeaderError, PeerUnreachableError, and ForeignLeaderError if the wire has no
        such question. Cancelling is safe.
        """

    def services(self, router: PeerRouter) -> list[Service]:
        """Services that hand the requests of peers to the groups that `router` finds."""

    def transport(
        self,
        *,
        group_id: bytes,
        self_id: NodeId,
        peer: Member,
        entries: Channel,
        heartbeats: Channel,
    ) -> PeerTransport:
        """How the group (16-byte id) of node `self_id` reaches `peer`.

        Log entries and snapshots travel on `entries`; heartbeats, votes and transfers on
        `heartbeats`, so that no large append stands in their way. Both channels may be shared
        with other groups. The transport opens nothing until it is used.
        """
