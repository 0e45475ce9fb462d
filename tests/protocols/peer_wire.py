"""A leader's transport and a follower's service with a fake group, joined by memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing

from trioraft.node.peers import (
    AppendStream,
    NoticeReply,
    PeerTransport,
    Resume,
    SnapshotChunk,
    SnapshotNotice,
    UnknownGroupError,
)
from trioraft.protocols import Dialect
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
from trioraft.rpc import Channel, Service, open_channel, serve

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


class Chunks:
    """`SnapshotChunks` out of a list; what was sought is remembered and left out."""

    def __init__(self, *chunks: tuple[str, bytes]) -> None:
        self.left = [SnapshotChunk(*chunk) for chunk in chunks]
        self.sought: tuple[int, int] | None = None

    def runtime_only(self) -> None:
        self.left = [chunk for chunk in self.left if chunk.file.startswith("_")]

    def seek(self, files: int, offset: int) -> None:
        self.sought = files, offset
        names = list(dict.fromkeys(chunk.file for chunk in self.left))
        left = [chunk for chunk in self.left if chunk.file in names[files:]]
        while len(left) > 1 and left[1].file == left[0].file and offset >= len(left[0].data):
            offset -= len(left.pop(0).data)
        if left:
            left[0] = SnapshotChunk(left[0].file, left[0].data[offset:])
        self.left = left

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> SnapshotChunk:
        await trio.lowlevel.checkpoint()
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


def pieces(*chunks: bytes, file: str = "state") -> Chunks:
    """The chunks of a snapshot of one file."""
    return Chunks(*((file, chunk) for chunk in chunks or (b"",)))


async def received(stream: AppendStream) -> list[AppendReply]:
    """The next replies: at least one, and all that arrive with it. Raises as `receive` does."""
    replies: list[AppendReply] = []
    with trio.CancelScope() as scope:

        def take(batch: Sequence[AppendReply]) -> None:
            replies.extend(batch)
            scope.cancel()

        await stream.receive(take)
    return replies


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


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener whose clients call `dial`; `cut` breaks every connection."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](16)
        self._streams: list[trio.StapledStream[Any, Any]] = []
        self.refuses = False

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self._receive.close()
        await trio.lowlevel.checkpoint()

    async def dial(self) -> trio.abc.Stream:
        if self.refuses:
            raise ConnectionRefusedError("refused")
        ours, theirs = trio.testing.memory_stream_pair()
        self._streams += [ours, theirs]
        await self._send.send(theirs)
        return ours

    async def cut(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


class Wire:
    """What a test holds: the follower's router, the leader's transport and channels."""

    def __init__(self, router: FakeRouter, listener: MemoryListener) -> None:
        self.router = router
        self.listener = listener
        self.transport: PeerTransport
        self.channel: Channel

    @property
    def group(self) -> FakeGroup:
        return self.router.only()


@asynccontextmanager
async def wired(
    dialect: Dialect,
    self_id: str,
    peer_id: str,
    *,
    group_id: bytes = GROUP,
    more: Callable[[FakeRouter], Sequence[Service]] = lambda router: (),
) -> AsyncIterator[Wire]:
    """Serve a fake group under `dialect`, and reach it as `self_id`. `more`: further services."""
    listener = MemoryListener()
    wire = Wire(FakeRouter(FakeGroup(peer_id)), listener)
    peer = Member(peer_id, "127.0.0.1:1")
    async with trio.open_nursery() as nursery:
        services = [*dialect.services(wire.router), *more(wire.router)]
        await nursery.start(partial(serve, services, listeners=[listener]))
        async with (
            open_channel("peer", dial=listener.dial) as entries,
            open_channel("peer", dial=listener.dial) as heartbeats,
        ):
            wire.channel = entries
            wire.transport = dialect.transport(
                group_id=group_id,
                self_id=self_id,
                peer=peer,
                entries=entries,
                heartbeats=heartbeats,
            )
            yield wire
        nursery.cancel_scope.cancel()


async def settle() -> None:
    """Let everything that can happen without waiting for time happen."""
    await trio.testing.wait_all_tasks_blocked()
