"""Vote requests of one node: asked in parallel, forgotten when a newer ballot begins."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from trioraft.raft.errors import OverloadedError
from trioraft.raft.messages import StartElection, VoteReply, VoteRequest
from trioraft.raft.types import NodeId

from .peer_set import PeerSet
from .peers import PeerUnreachableError

__all__ = ["Campaigns"]

logger = logging.getLogger(__name__)


class Campaigns:
    """Runs one ballot at a time, a nursery each, inside the group's nursery."""

    def __init__(
        self,
        nursery: trio.Nursery,
        peers: PeerSet,
        *,
        on_reply: Callable[[VoteReply], None],
        on_failure: Callable[[NodeId], None],
        on_refusal: Callable[[NodeId, int], None],
        timeout: float,
    ) -> None:
        self._nursery = nursery
        self._peers = peers
        self._on_reply = on_reply
        self._on_failure = on_failure
        self._on_refusal = on_refusal
        self._timeout = timeout
        self._ballot: _Ballot | None = None

    def ask(self, to: NodeId, request: VoteRequest) -> None:
        """Start asking `to`; the reply comes through `on_reply`. Never blocks."""
        ballot = self._ballot
        # A pre-vote that failed is repeated at the same term: that is another ballot.
        if ballot is None or ballot.begun or ballot.kind != (request.term, request.pre):
            self.cancel()
            ballot = self._ballot = _Ballot((request.term, request.pre))
            self._nursery.start_soon(self._run, ballot)
        ballot.requests.append((to, request))

    def cancel(self) -> None:
        """Forget the ballot that is under way, if any."""
        if self._ballot is not None:
            self._ballot.scope.cancel()
            self._ballot = None

    def hand_over(self, to: NodeId, request: StartElection) -> None:
        """Ask `to` to campaign at once (thesis §3.10).

        A no comes through `on_refusal`, with the term. If it can't be reached, or the answer is
        lost, nothing is reported: it may campaign all the same.
        """
        self._nursery.start_soon(self._hand_over, to, request)

    async def _run(self, ballot: _Ballot) -> None:
        ballot.begun = True  # all its requests came out of one step, before this task first ran
        with ballot.scope:
            async with trio.open_nursery() as nursery:
                for to, request in ballot.requests:
                    nursery.start_soon(self._ask, to, request)

    async def _ask(self, to: NodeId, request: VoteRequest) -> None:
        with trio.move_on_after(self._timeout):
            try:
                self._on_reply(await self._peers.transport(to).request_vote(request))
            except (PeerUnreachableError, OverloadedError) as error:  # or no room for its answer
                logger.debug("vote request to %s: %s", to, error)
                self._on_failure(to)

    async def _hand_over(self, to: NodeId, request: StartElection) -> None:
        with trio.move_on_after(self._timeout):
            try:
                if not await self._peers.transport(to).start_election(request):
                    logger.info("%s refuses to take over leadership", to)
                    self._on_refusal(to, request.term)
            except PeerUnreachableError as error:
                logger.info("%s could not be asked to take over: %s", to, error)


class _Ballot:
    __slots__ = ("begun", "kind", "requests", "scope")

    def __init__(self, kind: tuple[int, bool]) -> None:
        self.kind = kind  # term, and whether it is a pre-vote
        self.begun = False
        self.requests: list[tuple[NodeId, VoteRequest]] = []
        self.scope = trio.CancelScope()
