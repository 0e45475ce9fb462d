"""The small interface between a group's runtime and the wire: what a dialect implements.

`node/` never imports a dialect. The host hands each group a `PeerTransport` per follower to
dial out with, and hands each dialect a `PeerRouter` to find the group a request is for.

Errors: every transport failure (refused, reset, deadline, undecodable answer, any non-OK
status) is raised as `PeerUnreachableError`. It is never a Raft fact: the runtime backs off,
reconnects and probes again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Never, Protocol

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
from trioraft.raft.types import NO_INDEX, Configuration, Member, NodeId

__all__ = [
    "AppendStream",
    "NoticeOutcome",
    "NoticeReply",
    "PeerConnector",
    "PeerHandler",
    "PeerRouter",
    "PeerTransport",
    "PeerUnreachableError",
    "Resume",
    "SnapshotChunk",
    "SnapshotChunks",
    "SnapshotNotice",
    "UnknownGroupError",
]


class PeerUnreachableError(TrioraftError):
    """A peer did not answer as it should; says which and why. Retried by the runtime."""


class UnknownGroupError(TrioraftError):
    """This node has no such group; dialects answer with their own error for it."""


class AppendStream(Protocol):
    """One open appendEntries stream to a follower (entries or heartbeats)."""

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        """Send requests in order, in one flush; wait while the peer's window is full.

        Raises PeerUnreachableError when the stream is lost. After cancellation the stream
        may have sent some of them: close it and open another.
        """

    def send_nowait(self, request: AppendRequest) -> bool:
        """Queue without waiting, from the group's turn; False if the window is full.

        Then nothing was queued. It leaves with the `flush` that follows in the same turn. Raises
        PeerUnreachableError when the stream is lost.
        """

    def flush(self) -> None:
        """Send what `send_nowait` has queued. Never waits and raises nothing."""

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        """Hand replies to `take` as they come, in the order of the requests, until cancelled.

        `take(replies)` gets at least one, and all that arrived together. It is called in
        whichever task has parsed them and must not wait; what it raises comes out here.
        The dialect has already matched each wire reply to its request and filled in `round`,
        `heartbeat` and `rejected_prev` from it. Raises PeerUnreachableError when the stream
        is lost or has ended. Cancelling it loses nothing.
        """


class SnapshotChunk(NamedTuple):
    """A piece of one file of a snapshot. Files come one after another, each from its start.

    An empty file is one empty chunk.
    """

    file: str
    data: bytes


class SnapshotChunks(Protocol):
    """The chunks of a snapshot that is being sent, from its beginning unless told otherwise."""

    def seek(self, files: int, offset: int) -> None:
        """Go on behind so many whole files and bytes of the next; before any chunk is taken.

        Raises ValueError if the snapshot has no such place.
        """

    def runtime_only(self) -> None:
        """Leave the state machine's files out; before `seek`, which then counts the others."""

    def __aiter__(self) -> AsyncIterator[SnapshotChunk]: ...

    async def __anext__(self) -> SnapshotChunk: ...


@dataclass(frozen=True, slots=True)
class SnapshotNotice:
    """A leader of another make no longer has the entries up to `index`: fetch a later state.

    index: NO_INDEX if it has them all, and only asks whether anything is wanted.
    configuration: the newest one in that leader's log when it said so, and the index of its entry.
    """

    term: int
    leader: NodeId
    index: int
    configuration: Configuration
    configuration_index: int


class NoticeOutcome(Enum):
    """What a notice has led to."""

    IN_PROGRESS = "in progress"
    INSTALLED = "installed"  # told once
    ALREADY_THERE = "already there"
    UNAVAILABLE = "unavailable"  # the machine has found nothing to fetch, for now
    NOT_LEADER = "not leader"
    MISMATCH = "mismatch"  # in this group, machines don't fetch


@dataclass(frozen=True, slots=True)
class NoticeReply:
    """`index`: up to which everything is installed, NO_INDEX unless the outcome says so."""

    outcome: NoticeOutcome
    term: int
    index: int = NO_INDEX


class PeerTransport(Protocol):
    """How one group reaches one follower."""

    async def request_vote(self, request: VoteRequest) -> VoteReply:
        """Ask for a vote. The caller bounds it with a cancel scope."""

    def open_append_stream(self, *, heartbeat: bool) -> AbstractAsyncContextManager[AppendStream]:
        """Open the stream for entries, or the separate one for heartbeats."""

    async def send_snapshot(
        self, request: SnapshotRequest, chunks: SnapshotChunks
    ) -> SnapshotReply:
        """Stream a snapshot and wait until the follower has installed or refused it.

        `chunks` are the files of `request.meta`, in that order. `request.notice`: the follower's
        machine fetches its own files, if the wire can say that. Raises PeerUnreachableError;
        what `chunks` raises comes out as it is. Cancelling resets the stream.
        """

    async def start_election(self, request: StartElection) -> bool:
        """Ask the follower to campaign now. True if it accepted to."""


class PeerConnector(Protocol):
    """Makes the transports of one group. Plain calls, from inside the driver's turn."""

    def connect(self, peer: Member) -> PeerTransport:
        """How to reach `peer` at its address. Opens nothing until it is used."""

    def disconnect(self, peer: Member) -> None:
        """Once for each `connect`, with the same member: its transport is not used any more.

        Calls that are still under way on it may fail with PeerUnreachableError.
        """


Resume = Callable[[int, int], Awaitable[None]]
"""Tells the sender of a snapshot how many whole files, and bytes of the next, need no sending."""


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
