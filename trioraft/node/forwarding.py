"""How a node that does not lead gets a write or a read index from the one that does."""

from __future__ import annotations

from typing import Protocol

from trioraft.raft.types import Member, ReplicationLevel, Session

from .writes import WriteResult

__all__ = ["Forwarder"]


class Forwarder(Protocol):
    """Implemented by the host over trioraft's own protocol.

    Raises PeerUnreachableError when the leader cannot be reached *before* the request had any
    effect, ProposalDroppedError when a write may or may not have taken effect, NotLeaderError
    when the peer does not lead any more, OverloadedError and EntryTooLargeError as the leader
    does, ForeignLeaderError when the leader is of another make and nothing has happened.
    Never forwards twice.
    """

    async def write(self, leader: Member, data: bytes, session: Session | None) -> WriteResult: ...

    async def read_index(self, leader: Member) -> int: ...

    async def watch(self, leader: Member, index: int, level: ReplicationLevel) -> int | None:
        """What the level has reached; None if it has not reached `index` after a while."""
