"""The calling end of a link: this host's leaders and candidates to the host of their peers.

`keep` holds one stream open. What groups post between two passes of the sender goes out as one
message; while there is nothing to say, an empty one goes out now and then, because groups that
rest on the other side trust in the link's being alive.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from trioraft._proto.local import link_pb2 as pb
from trioraft._proto.local.link_grpc import LinkServiceStub
from trioraft.raft.messages import VoteRequest
from trioraft.raft.types import NodeId
from trioraft.rpc import GRPCError, ProtocolError, Status

from .codec import decode_term, encode_term
from .settings import LinkSettings
from .votes import AskedVotes

if TYPE_CHECKING:
    from trioraft.rpc import Channel

__all__ = ["HostLink", "LinkUser"]

_MAX_APPENDS = 256  # with entries, in one message: 1 MiB at most


class LinkUser(Protocol):
    """A group's heartbeats on a link, or its appends with entries."""

    def answered(self, message: pb.GroupAppendReply) -> None: ...

    def lost(self, reason: str) -> None: ...


class HostLink:
    """One host's link to another. At most one heartbeat, one question and a few small appends of

    each group wait.

    peer: what to call the other host in errors.
    on_change: told when the link comes up (True) or is lost (False).
    on_rest: told of each answer to `ask_rest`: group, term, whether it rests.
    """

    def __init__(
        self,
        *,
        node_id: NodeId,
        peer: NodeId,
        channel: Channel,
        settings: LinkSettings,
        rng: random.Random,
        on_change: Callable[[bool], Any],
        on_rest: Callable[[bytes, int, bool], Any],
    ) -> None:
        untyped: Any = channel  # grpclib's generated stub is annotated with grpclib's own channel
        self._stub = LinkServiceStub(untyped)
        self._node_id = node_id
        self.peer = peer
        self._settings = settings
        self._rng = rng
        self._on_change = on_change
        self._on_rest = on_rest
        self._users: dict[tuple[bytes, bool], LinkUser] = {}  # by group, and whether heartbeats
        self._heartbeats: dict[bytes, pb.GroupAppend] = {}
        self._appends: list[pb.GroupAppend] = []
        self._numbers = itertools.count(1)
        self._votes = AskedVotes()
        self._rests: dict[bytes, tuple[int, int]] = {}
        self._bell = trio.Event()
        self._changed = trio.Event()
        self._sent = trio.Event()
        self.up = False
        self.supported: bool | None = None  # unknown until the peer has answered once

    async def wait_usable(self) -> bool:
        """Wait until the link is up; False once the peer is known not to know links.

        Cancelling is safe.
        """
        while not self.up and self.supported is not False:
            await self._changed.wait()
        return self.up

    def attach(self, group_id: bytes, user: LinkUser, *, heartbeats: bool) -> bool:
        """Route the answers to a group's heartbeats, or to its other appends, to `user`.

        False while the link is not up.
        """
        if self.up:
            self._users[group_id, heartbeats] = user
        return self.up

    def detach(self, group_id: bytes, user: LinkUser, *, heartbeats: bool) -> None:
        """What `user` has posted and is not sent yet, need not be. Harmless if not attached."""
        if self._users.get((group_id, heartbeats)) is not user:
            return
        del self._users[group_id, heartbeats]
        if heartbeats:
            self._heartbeats.pop(group_id, None)

    def post(self, heartbeat: pb.GroupAppend) -> bool:
        """Send a heartbeat with the next message; False while the group's last one waits."""
        if heartbeat.group_id in self._heartbeats:
            return False
        self._heartbeats[heartbeat.group_id] = heartbeat
        self._bell.set()
        return True

    def next_number(self) -> int:
        """For an append that is no heartbeat; none is used twice."""
        return next(self._numbers)

    def post_entries(self, append: pb.GroupAppend) -> None:
        """Send an append that is no heartbeat with the next message, in order."""
        self._appends.append(append)
        self._bell.set()

    async def ask_vote(self, group_id: bytes, request: VoteRequest) -> pb.GroupVoteReply:
        """Ask for a vote; only while the link is up. Raises PeerUnreachableError if it is lost.

        Cancelling is safe.
        """
        number = self._votes.ask(group_id, request)
        self._bell.set()
        return await self._votes.wait(number)

    async def wait_sent(self) -> None:
        """Wait until what is posted has been sent, or the link is lost. Cancelling is safe."""
        await self._sent.wait()

    def ask_rest(self, group_id: bytes, term: int, last_index: int) -> None:
        """Ask the other host whether its replica of a group may rest."""
        self._rests[group_id] = (term, last_index)
        self._bell.set()

    async def keep(self) -> None:
        """Hold the link open until cancelled. Returns if the peer does not know links."""
        pause = self._settings.reconnect_min
        while True:
            reason = ""
            try:
                async with self._stub.Link.open() as stream:
                    await self._use(stream)
                reason = "it has ended the link"
            except* (GRPCError, ProtocolError, ValueError) as group:
                reason, unknown = _reason(group)
                if unknown:
                    self._announce(supported=False)
            was_up = self.up
            self._down(reason)
            if self.supported is False:
                return
            if was_up:
                pause = self._settings.reconnect_min
            await trio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, self._settings.reconnect_max)

    # -- an open link

    async def _use(self, stream: Any) -> None:
        await stream.send_message(pb.LinkRequest(node_id=self._node_id))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, stream)
            while True:
                with trio.move_on_after(self._settings.timeout) as silence:
                    reply = await stream.recv_message()
                if silence.cancelled_caught:
                    raise GRPCError(
                        Status.DEADLINE_EXCEEDED,
                        f"no answer on the link for {self._settings.timeout:g} s",
                    )
                if reply is None:
                    break
                if not self.up:
                    self.up = True
                    self._announce(supported=True)
                    self._on_change(True)
                self._take(reply)
            nursery.cancel_scope.cancel()

    async def _send(self, stream: Any) -> None:
        settings = self._settings
        while True:
            with trio.move_on_after(settings.interval):
                await self._bell.wait()
            self._bell = trio.Event()
            await stream.send_message(self._next_message())
            self._wake_senders()
            if settings.gather:
                await trio.sleep(settings.gather)

    def _next_message(self) -> pb.LinkRequest:
        """All that waits, but for appends that would make it too large."""
        heartbeats, self._heartbeats = self._heartbeats, {}
        appends, self._appends = self._appends[:_MAX_APPENDS], self._appends[_MAX_APPENDS:]
        rests, self._rests = self._rests, {}
        message = pb.LinkRequest(appends=[*heartbeats.values(), *appends], votes=self._votes.take())
        for group_id, (term, last_index) in rests.items():
            message.rests.add(group_id=group_id, term=encode_term(term), last_index=last_index)
        if self._appends:
            self._bell.set()
        return message

    def _take(self, reply: pb.LinkReply) -> None:
        for answer in reply.appends:
            user = self._users.get((answer.group_id, not answer.number))
            if user is not None:
                user.answered(answer)
        for vote in reply.votes:
            self._votes.answered(vote)
        for rest in reply.rests:
            self._on_rest(rest.group_id, decode_term(rest.term), rest.rests)

    def _down(self, reason: str) -> None:
        users, self._users = self._users, {}
        self._heartbeats.clear()
        self._appends.clear()
        self._rests.clear()
        self._votes.lost(f"the link to {self.peer} is lost: {reason}")
        for user in users.values():
            user.lost(reason)
        self._wake_senders()
        if self.up:
            self.up = False
            self._on_change(False)

    def _wake_senders(self) -> None:
        self._sent.set()
        self._sent = trio.Event()

    def _announce(self, *, supported: bool) -> None:
        self.supported = supported
        self._changed.set()
        self._changed = trio.Event()


def _reason(group: BaseExceptionGroup[BaseException]) -> tuple[str, bool]:
    """What to tell users, and whether the peer has said that it does not know links."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    unknown = isinstance(error, GRPCError) and error.status is Status.UNIMPLEMENTED
    return str(error), unknown
