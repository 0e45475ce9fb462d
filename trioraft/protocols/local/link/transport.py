"""A group's transport to a peer whose heartbeats travel on the link of the two hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Never

import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import AppendStream, PeerTransport, PeerUnreachableError
from trioraft.raft.types import AppendReply, AppendRequest, Member

from .client import HostLink
from .codec import decode_reply, encode_heartbeat

__all__ = ["LinkedTransport"]


class LinkedTransport:
    """A PeerTransport: everything as `inner` does it, but heartbeats over `link`.

    While the link is down, so is the peer: no stream is opened, and nobody tries to. A peer that
    does not know links, such as a server of another make, gets all of it from `inner`.
    """

    def __init__(self, inner: PeerTransport, link: HostLink, group_id: bytes, peer: Member) -> None:
        self._inner = inner
        self._link = link
        self._group_id = group_id
        self._peer = peer
        self.request_vote = inner.request_vote
        self.send_snapshot = inner.send_snapshot
        self.start_election = inner.start_election

    def open_append_stream(self, *, heartbeat: bool) -> AbstractAsyncContextManager[AppendStream]:
        """As PeerTransport.open_append_stream, once the link is up."""
        if self._link.supported is False:
            return self._inner.open_append_stream(heartbeat=heartbeat)
        return self._open(heartbeat)

    @asynccontextmanager
    async def _open(self, heartbeat: bool) -> AsyncIterator[AppendStream]:
        if not await self._link.wait_usable() or not heartbeat:
            async with self._inner.open_append_stream(heartbeat=heartbeat) as inner:
                yield inner
            return
        stream = _LinkedHeartbeats(self._link, self._group_id, self._peer)
        if not self._link.attach(self._group_id, stream):
            raise PeerUnreachableError(f"{self._peer.id} at {self._peer.address}: no link to it")
        try:
            yield stream
        finally:
            self._link.detach(self._group_id, stream)


class _LinkedHeartbeats:
    """An AppendStream for heartbeats; one of them at most waits in the link."""

    def __init__(self, link: HostLink, group_id: bytes, peer: Member) -> None:
        self._link = link
        self._group_id = group_id
        self._peer = peer
        self._take: Callable[[Sequence[AppendReply]], Any] | None = None
        self._ended = trio.Event()
        self._failure: str | None = None

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        """As AppendStream.send."""
        for request in requests:
            while not self.send_nowait(request):
                await self._link.wait_sent()
        await trio.lowlevel.checkpoint()

    def send_nowait(self, request: AppendRequest) -> bool:
        """As AppendStream.send_nowait."""
        if self._failure is not None:
            raise self._error()
        return self._link.post(encode_heartbeat(self._group_id, request))

    def flush(self) -> None:
        """As AppendStream.flush: the link sends by itself, for all groups at once."""

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        """As AppendStream.receive; `take` is called in the task that reads the link."""
        self._take = take
        try:
            await self._ended.wait()
        finally:
            self._take = None
        raise self._error()

    def answered(self, message: pb.GroupHeartbeatReply) -> None:
        if message.refused:
            self.lost("it refuses the group's heartbeats")
            return
        try:
            reply = decode_reply(self._peer.id, message)
        except ValueError as error:
            self.lost(str(error))
        else:
            if self._take is not None:
                self._take([reply])

    def lost(self, reason: str) -> None:
        self._failure = reason
        self._ended.set()

    def _error(self) -> PeerUnreachableError:
        return PeerUnreachableError(f"{self._peer.id} at {self._peer.address}: {self._failure}")
