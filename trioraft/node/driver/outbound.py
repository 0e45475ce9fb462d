"""What a driver sends through: the rest of the group, as its turns see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trioraft.raft.messages import AppendRequest, StartElection, VoteRequest
from trioraft.raft.ready import LoadEntries
from trioraft.raft.types import Member, NodeId, Role

__all__ = ["Outbound"]


class Outbound(Protocol):
    """Where the driver's messages go; none of these may block."""

    def send(self, to: NodeId, message: AppendRequest | VoteRequest | StartElection) -> None: ...

    def role_changed(self, role: Role, term: int, leader: NodeId | None) -> None: ...

    def rest_changed(self, resting: bool) -> None: ...

    def send_snapshot(self, to: NodeId) -> None: ...

    def peers_changed(self, members: Sequence[Member]) -> None: ...

    def removal_noticed(self, removed: bool) -> None: ...

    def load(self, request: LoadEntries) -> None: ...
