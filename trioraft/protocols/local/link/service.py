"""The serving end of a link: one stream per host that has peers of its groups here."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft._proto.local.link_grpc import LinkServiceBase
from trioraft.node.peers import PeerRouter
from trioraft.raft.errors import TrioraftError
from trioraft.raft.messages import AppendReply, VoteReply
from trioraft.raft.types import NodeId
from trioraft.rpc import GRPCError, Status

from .codec import decode_append, decode_term, decode_vote, encode_reply, encode_vote_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trioraft.rpc import ServerStream

__all__ = ["LinkService", "RestDesk"]

#: Answers that wait for a caller to read them; beyond it nothing more is read of him.
_MAX_ANSWERS = 16_384


class RestDesk(Protocol):
    """Who decides whether groups may rest here, and wakes them; plain calls that never block."""

    def rest_under(
        self,
        leader: NodeId,
        group_id: bytes,
        term: int,
        last_index: int,
        answer: Callable[[bool], Any],
    ) -> None:
        """Let a group rest under `leader` for as long as its link holds.

        `answer` is told, at once or later, whether it does.
        """

    def link_lost(self, leader: NodeId) -> None:
        """No link of that host is left: whatever rests under it must look after itself."""


class LinkService(LinkServiceBase):
    """Serves `schema/local/link.proto` for one host.

    timeout: seconds of silence after which a link counts as lost.
    """

    def __init__(self, router: PeerRouter, desk: RestDesk, *, timeout: float) -> None:
        self._router = router
        self._desk = desk
        self._timeout = timeout
        self._open: dict[NodeId, int] = {}  # links by the host at their other end

    async def Link(self, stream: ServerStream[Any, Any]) -> None:  # type: ignore[override]
        """Runs until the other end ends it or is silent too long. Cancelling it is safe."""
        first = await stream.recv_message()
        if first is None:
            return
        if not first.node_id:
            raise GRPCError(Status.INVALID_ARGUMENT, "the first message must name its node")
        with self._registered(first.node_id):
            await _LinkCall(stream, self._router, self._desk, first.node_id).run(
                first, self._timeout
            )

    @contextmanager
    def _registered(self, leader: NodeId) -> Iterator[None]:
        """A host that reconnects may have two links for a while: the last one's end counts."""
        self._open[leader] = self._open.get(leader, 0) + 1
        try:
            yield
        finally:
            self._open[leader] -= 1
            if not self._open[leader]:
                del self._open[leader]
                self._desk.link_lost(leader)


class _LinkCall:
    """One open link. Answers come from the drivers of the groups and leave together."""

    def __init__(
        self, stream: ServerStream[Any, Any], router: PeerRouter, desk: RestDesk, peer: NodeId
    ) -> None:
        self._stream = stream
        self._router = router
        self._desk = desk
        self._peer = peer
        self._answers = pb.LinkReply()
        self._waiting = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._due = False

    async def run(self, first: pb.LinkRequest, timeout: float) -> None:
        """Until the caller ends it. Raises GRPCError if it breaks or falls silent."""
        try:
            await self._run(first, timeout)
        except* GRPCError as broken:
            error: BaseException = broken
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]  # both directions tell the same
            raise error from None

    async def _run(self, first: pb.LinkRequest, timeout: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer)
            message: pb.LinkRequest | None = first
            while message is not None:
                self._take(message)
                await self._wait_room(timeout)
                with trio.move_on_after(timeout) as silence:
                    message = await self._stream.recv_message()
                if silence.cancelled_caught:
                    raise GRPCError(
                        Status.DEADLINE_EXCEEDED, f"the link was silent for {timeout:g} s"
                    )
            nursery.cancel_scope.cancel()

    async def _answer(self) -> None:
        """Send what has gathered. While the caller does not read, newer answers join the next."""
        while True:
            while not self._due:
                await self._waiting.park()
            answers, self._answers, self._due = self._answers, pb.LinkReply(), False
            self._room.unpark_all()
            await self._stream.send_message(answers)

    @property
    def _gathered(self) -> int:
        answers = self._answers
        return len(answers.appends) + len(answers.votes) + len(answers.rests)

    async def _wait_room(self, timeout: float) -> None:
        """Let a caller who reads no answers ask for no more of them, and end with him in time."""
        with trio.move_on_after(timeout) as waited:
            while self._gathered >= _MAX_ANSWERS:
                await self._room.park()
        if waited.cancelled_caught:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED, f"{_MAX_ANSWERS} answers are not read on the link"
            )

    def _take(self, message: pb.LinkRequest) -> None:
        for append in message.appends:
            self._take_append(append)
        for vote in message.votes:
            self._take_vote(vote)
        for rest in message.rests:
            self._take_rest(rest)
        self._ring()

    def _take_append(self, message: pb.GroupAppend) -> None:
        group_id, number = message.group_id, message.number

        def reply(answer: AppendReply) -> None:
            self._answers.appends.append(encode_reply(group_id, answer, number))
            self._ring()

        try:
            request = decode_append(self._peer, message)
            handler = self._router.find(group_id)
            handler.handle_append(request, reply)
            handler.settle()
        except (TrioraftError, ValueError):
            # This group's matter alone: its leader backs off and tries again.
            self._answers.appends.add(group_id=group_id, number=number, refused=True)

    def _take_vote(self, message: pb.GroupVote) -> None:
        number = message.number

        def reply(answer: VoteReply) -> None:
            self._answers.votes.append(encode_vote_reply(number, answer))
            self._ring()

        def refuse(error: BaseException) -> None:
            self._answers.votes.add(number=number, refused=str(error) or type(error).__name__)
            self._ring()

        try:
            request = decode_vote(self._peer, message)
            handler = self._router.find(message.group_id)
            handler.take_vote(request, reply, refuse)
            handler.settle()
        except (TrioraftError, ValueError) as error:
            refuse(error)

    def _take_rest(self, rest: pb.GroupRest) -> None:
        def answer(rests: bool) -> None:
            self._answers.rests.add(group_id=rest.group_id, term=rest.term, rests=rests)
            self._ring()

        term = _term(rest.term)
        self._desk.rest_under(self._peer, rest.group_id, term, rest.last_index, answer)

    def _ring(self) -> None:
        self._due = True
        self._waiting.unpark()


def _term(data: bytes) -> int:
    try:
        return decode_term(data)
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
