"""A group's entries on the link of two hosts, as long as they are few.

An idle group that elects a leader has one small entry to replicate, and nothing more until it
rests again: a stream of its own would cost more than all the rest of the election. So a group's
first appends travel with everybody's heartbeats, and it moves to a stream of its own when more
follow, or large ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Never

import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import AppendStream, PeerTransport, PeerUnreachableError
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import Member

from .client import HostLink
from .codec import decode_reply, encode_append

__all__ = ["LinkedEntries"]

_FEW = 8  # appends of one stream that travel on the link
_SMALL = 4096  # bytes of data in one of them
_ENTRY_BYTES = 64  # what an entry counts beside its data


class LinkedEntries:
    """An AppendStream. `aclose` it when done with it."""

    def __init__(self, link: HostLink, inner: PeerTransport, group_id: bytes, peer: Member) -> None:
        self._link = link
        self._transport = inner
        self._group_id = group_id
        self._peer = peer
        self._sent = 0
        self._unanswered: dict[int, None] = {}
        self._all_answered = trio.Event()
        self._own: AppendStream | None = None
        self._closing = AsyncExitStack()
        self._take: Callable[[Sequence[AppendReply]], Any] | None = None
        self._ended = trio.Event()  # on the link: lost, or moved
        self._failure: str | None = None

    def send_nowait(self, request: AppendRequest) -> bool:
        """As AppendStream.send_nowait; False also if the stream is to move: `send` does that."""
        if self._own is not None:
            return self._own.send_nowait(request)
        if self._failure is not None:
            raise self._error()
        if not self._fits(request):
            return False
        self._post(request)
        return True

    async def send(self, requests: Sequence[AppendRequest]) -> None:
        """As AppendStream.send."""
        for position, request in enumerate(requests):
            if self._own is None and self._fits(request):
                self._post(request)
                continue
            own = self._own or await self._move()
            await own.send(requests[position:])
            return
        await trio.lowlevel.checkpoint()

    def flush(self) -> None:
        """As AppendStream.flush; the link sends by itself, for all groups at once."""
        if self._own is not None:
            self._own.flush()

    async def receive(self, take: Callable[[Sequence[AppendReply]], Any]) -> Never:
        """As AppendStream.receive; `take` is called in the task that reads the connection."""
        self._take = take
        try:
            await self._ended.wait()
            if self._own is None:
                raise self._error()
            await self._own.receive(take)
        finally:
            self._take = None

    async def aclose(self) -> None:
        """End the group's own stream, if there is one. Never waits."""
        await self._closing.aclose()

    # -- for the link

    def answered(self, message: pb.GroupAppendReply) -> None:
        if message.number not in self._unanswered:
            return  # of an earlier stream of this group
        del self._unanswered[message.number]
        if message.refused:
            self.lost("it refuses the group's appends")
            return
        try:
            reply = decode_reply(self._peer.id, message)
        except ValueError as error:
            self.lost(str(error))
            return
        if self._take is not None:
            try:
                self._take([reply])
            except PeerUnreachableError as error:
                self.lost(str(error))
                return
        if not self._unanswered:
            self._all_answered.set()

    def lost(self, reason: str) -> None:
        if self._own is None:
            self._failure = reason
            self._all_answered.set()
            self._ended.set()

    # -- inside

    def _fits(self, request: AppendRequest) -> bool:
        if self._sent >= _FEW:
            return False
        return sum(len(e.data) + _ENTRY_BYTES for e in request.entries) <= _SMALL

    def _post(self, request: AppendRequest) -> None:
        number = self._link.next_number()
        self._sent += 1
        self._unanswered[number] = None
        self._link.post_entries(encode_append(self._group_id, request, number))

    async def _move(self) -> AppendStream:
        """Go on in a stream of the group's own, behind what is on the link. Raises
        PeerUnreachableError."""
        self._sent = _FEW
        while self._unanswered and self._failure is None:
            self._all_answered = trio.Event()
            await self._all_answered.wait()
        if self._failure is not None:
            raise self._error()
        opening = self._transport.open_append_stream(heartbeat=False)
        self._own = await self._closing.enter_async_context(opening)
        self._ended.set()
        return self._own

    def _error(self) -> PeerUnreachableError:
        return PeerUnreachableError(f"{self._peer.id} at {self._peer.address}: {self._failure}")
