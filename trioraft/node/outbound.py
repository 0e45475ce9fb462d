"""What leaves a group: its driver's messages on their way to campaigns and replicators.

It owns the tasks that exist only for a while: the ballot under way and the leadership.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import trio

from trioraft.raft.core import RaftCore
from trioraft.raft.errors import GroupStoppedError, OverloadedError
from trioraft.raft.messages import AppendReply, AppendRequest, StartElection, VoteRequest
from trioraft.raft.ready import LoadEntries
from trioraft.raft.types import Entry, Member, NodeId, Role, SnapshotMeta
from trioraft.storage.interface import GroupStorage

from .campaign import Campaigns
from .driver import Driver
from .leadership import Leadership
from .peer_set import PeerSet
from .peers import PeerUnreachableError
from .replicator import Replicator
from .settings import RuntimeSettings

__all__ = ["GroupOutbound"]

logger = logging.getLogger(__name__)


class GroupOutbound:
    """Implements `driver.Outbound` and `replicator.ReplicatorEvents` for one group."""

    def __init__(
        self,
        *,
        name: str,
        core: RaftCore,
        storage: GroupStorage,
        peers: PeerSet,
        settings: RuntimeSettings,
        vote_timeout: float,
        rng: random.Random,
        on_change: Callable[[], None],
        on_rest: Callable[[bool], None],
    ) -> None:
        self._name = name
        self._core = core
        self._storage = storage
        self._peers = peers
        self._settings = settings
        self._vote_timeout = vote_timeout
        self._rng = rng
        self._on_change = on_change
        self._on_rest = on_rest
        self._leadership: Leadership | None = None

    def start(self, nursery: trio.Nursery, driver: Driver) -> None:
        """Bind to the running group; everything started here lives in `nursery`."""
        self._nursery = nursery
        self._driver = driver
        self._campaigns = Campaigns(
            nursery,
            self._peers,
            on_reply=driver.step,
            on_failure=self._vote_failed,
            on_refusal=self._handover_refused,
            timeout=self._vote_timeout,
        )

    # -- driver.Outbound

    def send(self, to: NodeId, message: AppendRequest | VoteRequest | StartElection) -> None:
        if isinstance(message, AppendRequest):
            if self._leadership is not None:
                self._leadership.post(to, message)
        elif isinstance(message, VoteRequest):
            self._campaigns.ask(to, message)
        else:
            self._campaigns.hand_over(to, message)

    def role_changed(self, role: Role, term: int, leader: NodeId | None) -> None:
        if role not in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            self._campaigns.cancel()
        leads = role is Role.LEADER
        if self._leadership is not None and (not leads or self._leadership.term != term):
            self._leadership.step_down()
            self._leadership = None
            logger.info("%s: leadership ended, term is now %d", self._name, term)
        if leads and self._leadership is None:
            logger.info("%s: leads in term %d", self._name, term)
            self._leadership = Leadership(term, self._new_replicator)
            self._leadership.follow(self._peers.members())
            self._nursery.start_soon(self._leadership.run)
        self._on_change()

    def rest_changed(self, resting: bool) -> None:
        """A group at rest keeps no streams to its followers; what it sends later opens them."""
        if resting and self._leadership is not None:
            self._leadership.rest()
        self._on_rest(resting)

    def peers_changed(self, members: Sequence[Member]) -> None:
        """Reach exactly these members from now on, and replicate to them while leading."""
        self._peers.follow(members)
        if self._leadership is None:
            return
        for moved in self._leadership.follow(self._peers.members()):
            self.snapshot_finished(moved, None)
            self.unreachable(moved)

    def removal_noticed(self, removed: bool) -> None:
        if removed:
            logger.warning(
                "%s: this node was removed from the group; it keeps its data and stays quiet. Stop "
                "it; to use its name again, start it with an empty data directory and add it",
                self._name,
            )
        else:
            logger.info("%s: this node is a member of the group again", self._name)
        self._on_change()

    def send_snapshot(self, to: NodeId) -> None:
        if self._leadership is not None:
            self._leadership.post_snapshot(to)

    def load(self, request: LoadEntries) -> None:
        self._nursery.start_soon(self._load, request)

    async def _load(self, request: LoadEntries) -> None:
        """Read entries that have left the cache for a follower that is far behind."""
        entries: Sequence[Entry]
        try:
            entries = await self._storage.read(request.low, request.high, request.max_bytes)
        except IndexError:
            entries = ()  # compacted meanwhile: the core turns to a snapshot
        self._driver.call(
            lambda now: self._core.entries_loaded(request.follower, request.low, entries, now)
        )

    # -- replicator.ReplicatorEvents

    def append_replies(self, replies: Sequence[AppendReply]) -> None:
        try:
            for reply in replies:
                self._driver.receive(reply)
        except (OverloadedError, GroupStoppedError) as error:
            many = len(replies)
            raise PeerUnreachableError(f"{many} answers cannot be taken: {error}") from error
        finally:
            self._driver.settle()

    def _vote_failed(self, voter: NodeId) -> None:
        self._driver.call(lambda now: self._core.vote_failed(voter, now))

    def _handover_refused(self, target: NodeId, term: int) -> None:
        self._driver.call(lambda now: self._core.handover_refused(target, term, now))

    def flush_later(self, flush: Callable[[], None]) -> None:
        self._driver.flush_later(flush)

    def unreachable(self, follower: NodeId) -> None:
        self._driver.call(lambda now: self._core.peer_unreachable(follower, now))

    def snapshot_finished(self, follower: NodeId, meta: SnapshotMeta | None) -> None:
        self._driver.call(lambda now: self._core.snapshot_finished(follower, meta, now))

    def _new_replicator(self, member: Member, term: int) -> Replicator:
        return Replicator(
            term=term,
            leader=self._core.node_id,
            follower=member,
            transport=self._peers.transport(member.id),
            storage=self._storage,
            events=self,
            settings=self._settings,
            rng=random.Random(self._rng.getrandbits(64)),
        )
