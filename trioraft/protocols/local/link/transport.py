"""A group's transport to a peer, with what is small on the link of the two hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Never

import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import AppendStream, PeerTransport, PeerUnreachableError
from trioraft.raft.messages import AppendReply, AppendRequest, VoteReply, VoteRequest
from trioraft.raft.types import Member

from .client import HostLink, LinkUser
from .codec import decode_reply, decode_vote_reply, encode_append
from .entries import LinkedEntries

__all__ = ["LinkedTransport"]


class LinkedTransport:
    """A PeerTransport: heartbeats, votes and few entries over `link`, the rest as `inner` does it.

    While the link is down, so is the peer: no stream is opened, and nobody tries to. A peer that
    does not know links, such as a server of another make, gets all of it from `inner`.
    """

    def __init__(self, inner: PeerTransport, link: HostLink, group_id: bytes, peer: Member) -> None:
        self._inner = inner
        self._link = link
        self._group_id = group_id
        self._peer = peer
        self.send_snapshot = inner.send_snapshot
        self.start_election = inner.start_election

    async def request_vote(self, request: VoteRequest) -> VoteReply:
        """As PeerTransport.request_vote."""
        if not self._link.up:
            if self._link.supported:
                raise PeerUnreachableError(
                    f"{self._peer.id} at {self._peer.address}: no link to it"
                )
            return await self._inner.request_vote(request)
        message = await self._link.ask_vote(self._group_id, request)
        try:
            if message.refused:
                raise ValueError(message.refused)
            return decode_vote_reply(self._peer.id, request.pre, message)
        except ValueError as error:
            raise PeerUnreachableError(
                f"{self._peer.id} at {self._peer.address}: {error}"
            ) from error

    def open_append_stream(self, *, heartbeat: bool) -> AbstractAsyncContextManager[AppendStream]:
        """As PeerTransport.open_append_stream, once the link is up."""
        if self._link.supported is False:
            return self._inner.open_append_stream(heartbeat=heartbeat)
        return self._open(heartbeat)

    @asynccontextmanager
    async def _open(self, heartbeat: bool) -> AsyncIterator[AppendStream]:
        link, group_id, peer = self._link, self._group_id, self._peer
        if not await link.wait_usable():
            async with self._inner.open_append_stream(heartbeat=heartbeat) as inner:
                yield inner
        elif heartbeat:
            heartbeats = _LinkedHeartbeats(link, group_id, peer)
            with self._attached(heartbeats, heartbeats=True):
                yield heartbeats
        else:
            entries = LinkedEntries(link, self._inner, group_id, peer)
            with self._attached(entries, heartbeats=False):
                try:
                    yield entries
                finally:
                    await entries.aclose()

    @contextmanager
    def _attached(self, user: LinkUser, *, heartbeats: bool) -> Iterator[None]:
        if not self._link.attach(self._group_id, user, heartbeats=heartbeats):
            raise PeerUnreachableError(f"{self._peer.id} at {self._peer.address}: no link to it")
        try:
            yield
        finally:
            self._link.detach(self._group_id, user, heartbeats=heartbeats)


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
        return self._link.post(encode_append(self._group_id, request))

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

    def answered(self, message: pb.GroupAppendReply) -> None:
        if message.refused:
            self.lost("it refuses the group's heartbeats")
            return
        try:
            reply = decode_reply(self._peer.id, message)
        except ValueError as error:
            self.lost(str(error))
        else:
            if self._take is not None:
                try:
                    self._take([reply])
                except PeerUnreachableError as error:
                    self.lost(str(error))

    def lost(self, reason: str) -> None:
        self._failure = reason
        self._ended.set()

    def _error(self) -> PeerUnreachableError:
        return PeerUnreachableError(f"{self._peer.id} at {self._peer.address}: {self._failure}")
