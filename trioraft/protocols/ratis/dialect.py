"""What makes a group a Ratis group: its rules, its services, its transports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trioraft.node.peers import PeerRouter, PeerTransport
from trioraft.protocols.calls import check_call_id
from trioraft.raft.config import RaftConfig, count_terms
from trioraft.raft.errors import ConfigurationError
from trioraft.raft.types import Configuration, EntryKind, Member, NodeId, Session

from .entries import CLIENT_ID_BYTES, NOBODY
from .header import Route
from .members import MAX_PRIORITY, check_peer_id
from .read_index import ask_read_index
from .service import RatisServerService
from .transport import RatisTransport

if TYPE_CHECKING:
    from trioraft.rpc import Channel, Service

__all__ = ["RatisDialect"]


class RatisDialect:
    """Apache Ratis. Groups have 16-byte ids, and so have the clients of sessions."""

    name = "ratis"
    max_message_bytes = 64 << 20  # raft.grpc.message.size.max

    def config(self, base: RaftConfig) -> RaftConfig:
        """Terms count by one, elections begin by pre-vote, leaders by a configuration entry.

        Priorities count: peers judge candidates by them, so all of a group must.
        """
        return replace(
            base,
            next_term=count_terms,
            first_entry=EntryKind.CONFIGURATION,
            pre_vote=True,
            priorities=True,
            marked_transfers=False,
            adopt_term_on_reject=True,
            max_entry_bytes=min(base.max_entry_bytes, 4 << 20),
        )

    def check_members(self, configuration: Configuration) -> None:
        """Ids are any text but the empty one. Raises ConfigurationError."""
        for member in configuration.members():
            try:
                check_peer_id(member.id)
            except ValueError as error:
                raise ConfigurationError(f"--id {member.id!r}: {error}") from None
            if not 0 <= member.priority <= MAX_PRIORITY:
                raise ConfigurationError(
                    f"priority={member.priority} of {member.id}: must be 0 to {MAX_PRIORITY}"
                )

    def check_session(self, session: Session) -> None:
        """Client ids are 16 bytes: not all zero, and not those that stand for no session."""
        client_id = session.client_id
        if len(client_id) != CLIENT_ID_BYTES or not any(client_id) or client_id == NOBODY:
            raise ConfigurationError(
                f"client id {client_id.hex() or 'of 0 bytes'}: Ratis client ids are "
                f"{CLIENT_ID_BYTES} bytes, not all zero, and not {NOBODY!r}"
            )
        check_call_id(session)

    async def read_index(
        self, *, group_id: bytes, self_id: NodeId, leader: Member, channel: Channel
    ) -> int:
        return await ask_read_index(channel, Route.between(group_id, self_id, leader.id), leader)

    def services(self, router: PeerRouter) -> list[Service]:
        return [RatisServerService(router)]

    def transport(
        self,
        *,
        group_id: bytes,
        self_id: NodeId,
        peer: Member,
        entries: Channel,
        heartbeats: Channel,
    ) -> PeerTransport:
        """Raises ValueError for a group id that is not 16 bytes."""
        return RatisTransport(group_id, self_id, peer, entries, heartbeats)
