"""The way out: what a dialect implements, and the runtime of a leader or candidate uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Never, Protocol

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
from trioraft.raft.types import Member

from .snapshots import SnapshotChunks

__all__ = ["AppendStream", "PeerConnector", "PeerTransport", "PeerUnreachableError"]


class PeerUnreachableError(TrioraftError):
    """A peer did not answer as it should; says which and why. Retried by the runtime."""


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
        whichever task has parsed them, which may serve other groups as well, and must not wait;
        it raises PeerUnreachableError to give the stream up, and that comes out here.
        The dialect has already matched each wire reply to its request and filled in `round`,
        `heartbeat` and `rejected_prev` from it. Raises PeerUnreachableError when the stream
        is lost or has ended. Cancelling it loses nothing.
        """


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
