"""A leader's transport and a follower's service with a fake group, joined by memory streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing
from fake_group import GROUP, FakeGroup, FakeRouter

from trioraft.node.peers import (
    AppendStream,
    PeerTransport,
    SnapshotChunk,
)
from trioraft.protocols import Dialect
from trioraft.raft.messages import (
    AppendReply,
)
from trioraft.raft.types import Member
from trioraft.rpc import Channel, Service, open_channel, serve


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
