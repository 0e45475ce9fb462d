"""The way in: what a dialect's service calls when a request of a peer has arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from trioraft.raft.errors import TrioraftError
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import NodeId

from .snapshots import NoticeReply, Resume, SnapshotChunk, SnapshotNotice

__all__ = ["PeerHandler", "PeerRouter", "UnknownGroupError"]


class UnknownGroupError(TrioraftError):
    """This node has no such group; dialects answer with their own error for it."""


class PeerHandler(Protocol):
    """What a dialect's service calls when a peer's request for one group arrives."""

    @property
    def node_id(self) -> NodeId:
        """This node."""

    async def handle_vote(self, request: VoteRequest) -> VoteReply:
        """Answer after the vote is durable. Raises GroupStoppedError, OverloadedError, and

        ValueError for a request that no correct peer sends; so do the other methods.
        """

    def take_vote(
        self,
        request: VoteRequest,
        reply: Callable[[VoteReply], Any],
        refuse: Callable[[BaseException], Any],
    ) -> None:
        """As `handle_vote` for a caller without a task, in the next `settle`.

        One of `reply` and `refuse` is called then or later, once; neither must block or raise.
        """

    def handle_append(
        self, request: AppendRequest, reply: Callable[[AppendReply], Callable[[], Any] | None]
    ) -> None:
        """Take a request in for the next `settle`; `reply` is called then or later, once.

        It returns None, or what is to be called when all replies of that turn are given, to
        flush the connection that they are queued on.

        Replies to requests with entries come in the order of the requests, each when its
        entries are durable; a heartbeat's reply may overtake them. `reply` must not block or
        raise. If the group stops first, `reply` is never called and the host closes the
        stream. Raises GroupStoppedError, OverloadedError when the group's inbox is full, and
        ValueError for entries with a gap or with terms that no leader sends.
        """

    def settle(self) -> None:
        """Step the group with what `handle_append` has taken in, in the caller's task.

        To be called once behind one or several of them. Never waits and raises nothing: a group
        that fails stops by itself.
        """

    async def handle_snapshot(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume | None = None,
    ) -> SnapshotReply:
        """Spool and install a snapshot; answers when it is durable. Cancelling drops the spool.

        With `resume`, for a wire that can go on where it broke off: it is called before the first
        chunk with what is there already (whole files, bytes of the next), `chunks` begin behind
        that, and a transfer that breaks off is kept for a while.

        If `request.meta` names files, what arrives must be those; with `request.notice`, those
        of the runtime, and the machine fetches its own. Raises ValueError for names,
        an order or sizes that no correct peer sends, and what `chunks` raises.
        """

    async def handle_notice(self, notice: SnapshotNotice) -> NoticeReply:
        """Have the machine fetch a snapshot, for a wire that asks again and again how it goes.

        Answers within a second or so. Cancelling it does not end the fetching.
        """

    async def handle_read_index(self) -> int:
        """The index that a follower's linearizable read must wait for. Raises NotLeaderError, too.

        Cancelling is safe.
        """

    async def handle_start_election(self, request: StartElection) -> bool:
        """Campaign at once if `request` comes from the leader of the current term."""


class PeerRouter(Protocol):
    """Finds groups by their 16-byte id."""

    def find(self, group_id: bytes) -> PeerHandler:
        """Raises UnknownGroupError."""

    def only(self) -> PeerHandler:
        """The one group of this host, for dialects without group ids on the wire.

        Raises UnknownGroupError if there is none or more than one.
        """
