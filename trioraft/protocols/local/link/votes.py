"""The votes that a host has asked for on one link, for all of its groups."""

from __future__ import annotations

import itertools

from trioraft._proto.local import link_pb2 as pb
from trioraft.node.peers import PeerUnreachableError
from trioraft.node.wakeups import Slot
from trioraft.raft.messages import VoteRequest

from .codec import encode_vote

__all__ = ["AskedVotes"]


class AskedVotes:
    """Questions that wait to be sent, and those that wait for their answers.

    Bounded by the groups of the host: each has one ballot at a time, and who gives up waiting
    takes the question back.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._unsent: dict[int, pb.GroupVote] = {}
        self._waiting: dict[int, Slot[pb.GroupVoteReply]] = {}

    def ask(self, group_id: bytes, request: VoteRequest) -> int:
        """Queue a question; `wait` for its number."""
        number = next(self._numbers)
        self._unsent[number] = encode_vote(group_id, number, request)
        self._waiting[number] = Slot()
        return number

    async def wait(self, number: int) -> pb.GroupVoteReply:
        """The answer. Raises PeerUnreachableError if the link is lost first. Cancelling is safe."""
        try:
            return await self._waiting[number].wait()
        finally:
            self._unsent.pop(number, None)
            del self._waiting[number]

    def take(self) -> list[pb.GroupVote]:
        """What is to be sent now."""
        unsent, self._unsent = self._unsent, {}
        return list(unsent.values())

    def answered(self, message: pb.GroupVoteReply) -> None:
        """An answer that nobody waits for any more is dropped."""
        slot = self._waiting.get(message.number)
        if slot is not None:
            slot.resolve(message)

    def lost(self, reason: str) -> None:
        """The link is lost, and with it every answer."""
        for slot in self._waiting.values():
            slot.fail(PeerUnreachableError(reason))
