"""What makes a group an openraft group: its rules, its services, its transports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trioraft.node.peers import PeerRouter, PeerTransport
from trioraft.protocols.calls import check_call_id
from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import ConfigurationError, ForeignLeaderError
from trioraft.raft.types import Configuration, EntryKind, Member, NodeId, Session

from .payload import MAX_MESSAGE_BYTES
from .service import RaftService
from .terms import next_term, node_number
from .transport import OpenraftTransport

if TYPE_CHECKING:
    from trioraft.rpc import Channel, Service

__all__ = ["OpenraftDialect"]

# Peers accept messages of at most 4 MiB; the rest is room for what surrounds an entry.
_MAX_ENTRY_BYTES = (4 << 20) - (64 << 10)


class OpenraftDialect:
    """openraft with `leader_id_adv`. No group ids on the wire, hence one group per host."""

    name = "openraft"
    max_message_bytes = MAX_MESSAGE_BYTES

    def config(self, base: RaftConfig) -> RaftConfig:
        """Terms pack (term, node id); leaders begin by a blank entry; there are no pre-votes
        and no priorities.

        A voter whose log is ahead keeps its vote, instead of taking over the higher term, and
        a candidate that it refused lets two election timeouts pass.
        """
        return replace(
            base,
            next_term=next_term,
            first_entry=EntryKind.BLANK,
            pre_vote=False,
            priorities=False,
            adopt_term_on_reject=False,
            behind_delay=2 * base.election_timeout_max,
            max_entry_bytes=min(base.max_entry_bytes, _MAX_ENTRY_BYTES),
            max_append_bytes=min(base.max_append_bytes, _MAX_ENTRY_BYTES),
        )

    def check_members(self, configuration: Configuration) -> None:
        """Ids are numbers, and there are no priorities. Raises ConfigurationError."""
        for member in configuration.members():
            try:
                node_number(member.id)
            except ValueError:
                raise ConfigurationError(
                    f"--id {member.id}: openraft node ids are numbers 0..2^64-1, e.g. --id 1"
                ) from None
            if member.priority:
                raise ConfigurationError(
                    f"priority={member.priority} of {member.id}: openraft has no priorities"
                )

    def check_session(self, session: Session) -> None:
        """Client ids are any bytes."""
        check_call_id(session)

    async def read_index(
        self, *, group_id: bytes, self_id: NodeId, leader: Member, channel: Channel
    ) -> int:
        """openraft's RaftService has no such call."""
        raise ForeignLeaderError(leader.id, f"{leader.id} is no trioraft: read from it instead")

    def services(self, router: PeerRouter) -> list[Service]:
        return [RaftService(router)]

    def transport(
        self,
        *,
        group_id: bytes,
        self_id: NodeId,
        peer: Member,
        entries: Channel,
        heartbeats: Channel,
    ) -> PeerTransport:
        """`group_id` and `self_id` do not travel: votes and appends name their node by its term."""
        return OpenraftTransport(peer, entries, heartbeats)
