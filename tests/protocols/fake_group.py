"""A group without Raft behind a dialect: it answers peers as a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from trioraft.node.peers import (
    NoticeReply,
    Resume,
    SnapshotChunk,
    SnapshotNotice,
    UnknownGroupError,
)
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)

GROUP = bytes.fromhex("02511d47d67c49a39011abb3109a44c1")


class FakeGroup:
    """A PeerHandler that records what arrives. Appends succeed, at once, unless `held` is set."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.votes: list[VoteRequest] = []
        self.appends: list[AppendRequest] = []
        self.snapshots: list[tuple[SnapshotRequest, dict[str, bytes]]] = []
        self.notices: list[SnapshotNotice] = []
        self.notice_replies: list[NoticeReply] = []
        self.elections: list[StartElection] = []
        self.vote = VoteReply(5, node_id, True)
        self.answer: Callable[[AppendRequest], AppendReply] = self.success
        self.held: list[Callable[[], None]] | None = None
        self.failure: Exception | None = None
        self.snapshot_reply: Callable[[SnapshotRequest], SnapshotReply] = self.installed
        self.reads_snapshot = True
        self.resumes_at = 0, 0
        self.campaigns = True

    def success(self, request: AppendRequest) -> AppendReply:
        match = -1 if request.heartbeat else request.prev_index + len(request.entries)
        return AppendReply(
            request.term,
            self.node_id,
            True,
            match,
            commit=request.commit,
            heartbeat=request.heartbeat,
        )

    def conflict(self, request: AppendRequest) -> AppendReply:
        return AppendReply(
            request.term, self.node_id, False, rejected_prev=request.prev_index, hint_index=2
        )

    def installed(self, request: SnapshotRequest) -> SnapshotReply:
        return SnapshotReply(request.term, self.node_id, True, request.meta.index)

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def handle_vote(self, request: VoteRequest) -> VoteReply:
        self._maybe_fail()
        self.votes.append(request)
        return self.vote

    def take_vote(
        self,
        request: VoteRequest,
        reply: Callable[[VoteReply], Any],
        refuse: Callable[[BaseException], Any],
    ) -> None:
        self.votes.append(request)
        reply(self.vote)

    def handle_append(self, request: AppendRequest, reply: Callable[[AppendReply], Any]) -> None:
        self._maybe_fail()
        self.appends.append(request)
        given = self.answer(request)

        def answer() -> None:
            flush = reply(given)
            if flush is not None:
                flush()

        if self.held is None:
            answer()
        else:
            self.held.append(answer)

    def settle(self) -> None:
        """Nothing to do: `handle_append` has answered, or holds the answer back."""

    async def handle_snapshot(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume | None = None,
    ) -> SnapshotReply:
        self._maybe_fail()
        files: dict[str, bytes] = {}
        if self.reads_snapshot and resume is not None:
            await resume(*self.resumes_at)
        if self.reads_snapshot:
            async for file, data in chunks:
                files[file] = files.get(file, b"") + data
        self.snapshots.append((request, files))
        return self.snapshot_reply(request)

    async def handle_notice(self, notice: SnapshotNotice) -> NoticeReply:
        self._maybe_fail()
        self.notices.append(notice)
        return self.notice_replies.pop(0)

    async def handle_read_index(self) -> int:
        self._maybe_fail()
        return 77

    async def handle_start_election(self, request: StartElection) -> bool:
        self._maybe_fail()
        self.elections.append(request)
        return self.campaigns


class FakeRouter:
    """Knows one group, or none."""

    def __init__(self, group: FakeGroup | None) -> None:
        self.group = group

    def find(self, group_id: bytes) -> FakeGroup:
        if group_id != GROUP:
            raise UnknownGroupError(f"no group {group_id.hex()}")
        return self.only()

    def only(self) -> FakeGroup:
        if self.group is None:
            raise UnknownGroupError("this node has no group")
        return self.group
