"""Collects the outputs of a step, and decides which of them must wait for the disk.

Three things must be durable before they are answered: the term, the vote, and the entries that
a reply says are there. Which Ready carries what is remembered until it is reported durable.
"""

from __future__ import annotations

from collections import deque

from .errors import InvariantError, TrioraftError
from .log import RaftLog
from .messages import AppendReply, VoteRequest
from .ready import LoadEntries, Outgoing, Ready, Reply, SoftState
from .types import Configuration, HardState, Member, NodeId, SnapshotMeta

__all__ = ["Outbox"]


class Outbox:
    """Outputs since the last Ready, and the durability of those before.

    hard_state: not handed out yet.
    sequence: of the last Ready handed out; `persisted`: of the newest that is durable.
    """

    __slots__ = (
        "_hard_sequence",
        "_order_waits",
        "_ordered_sequence",
        "_soft",
        "_stored_sequence",
        "_truncations",
        "_unstable",
        "changes",
        "commit",
        "dropped_reads",
        "hard_state",
        "loads",
        "messages",
        "peers",
        "persisted",
        "reads",
        "removed",
        "replies",
        "reset",
        "sequence",
        "snapshots",
        "synced_messages",
        "synced_replies",
        "truncated_from",
    )

    def __init__(self, last_index: int, commit: int, soft: SoftState) -> None:
        self.sequence = 0
        self.persisted = 0
        self.commit = commit
        self._soft = soft
        self._unstable = last_index + 1  # first index that no Ready has carried
        self._hard_sequence = 0  # the Ready that carried the newest hard state
        self._stored_sequence = 0  # the newest Ready that had anything for the disk
        # What the newest waiting reply of an entry stream waits for. Until that is durable every
        # further one waits too, or it would overtake.
        self._ordered_sequence = 0
        # (Ready, index): from that Ready on, the disk no longer holds what it held at `index`
        # and behind. Reports about earlier ones prove nothing there.
        self._truncations: deque[tuple[int, int]] = deque()
        self._clear()

    def _clear(self) -> None:
        self.hard_state: HardState | None = None
        self.reset: SnapshotMeta | None = None
        self.messages: list[tuple[NodeId, Outgoing]] = []
        self.synced_messages: list[tuple[NodeId, VoteRequest]] = []
        self.replies: list[tuple[object, Reply]] = []
        self.synced_replies: list[tuple[object, Reply]] = []
        self.reads: list[tuple[list[object], int]] = []
        self.dropped_reads: list[object] = []
        self.loads: list[LoadEntries] = []
        self.snapshots: list[NodeId] = []
        self.truncated_from: int | None = None
        self.peers: tuple[Member, ...] | None = None
        self.changes: list[tuple[object, Configuration | TrioraftError]] = []
        self.removed: bool | None = None
        self._order_waits = False  # a reply of an entry stream is among the synced ones

    @property
    def hard_state_durable(self) -> bool:
        return self.hard_state is None and self._hard_sequence <= self.persisted

    def reply(self, token: object, reply: Reply, *, waits: bool = False) -> None:
        """Answer `token`, after the disk if `waits` or if the term is not durable."""
        if waits or not self.hard_state_durable:
            self.synced_replies.append((token, reply))
        else:
            self.replies.append((token, reply))

    def reply_append(self, token: object, reply: AppendReply, durable_index: int) -> None:
        """Answer an append. Those of an entry stream stay in the order of the requests."""
        if reply.heartbeat:
            self.reply(token, reply)
            return
        waits = (
            reply.match_index > durable_index
            or self._order_waits
            or self._ordered_sequence > self.persisted
            or not self.hard_state_durable
        )
        self._order_waits = waits
        self.reply(token, reply, waits=waits)

    def truncated(self, index: int) -> None:
        """The log was cut at `index`: the next Ready overwrites it, or leaves it out."""
        if index < self._unstable:
            self._unstable = index
            self._truncations.append((self.sequence + 1, index))
        if self.truncated_from is None or index < self.truncated_from:
            self.truncated_from = index

    def was_reset(self, meta: SnapshotMeta, dropped_from: int) -> None:
        """The log starts over behind `meta`; entries from `dropped_from` on are gone."""
        self.truncated(dropped_from)
        self._unstable = meta.index + 1
        self.reset = meta

    def peers_changed(self, peers: tuple[Member, ...]) -> None:
        """The next Ready says whom to reach, and asks for nothing that concerns anybody else."""
        self.peers = peers
        ids = {member.id: None for member in peers}
        self.messages = [(to, m) for to, m in self.messages if to in ids]
        self.synced_messages = [(to, m) for to, m in self.synced_messages if to in ids]
        self.loads = [load for load in self.loads if load.follower in ids]
        self.snapshots = [follower for follower in self.snapshots if follower in ids]

    def mark_persisted(self, index: int, sequence: int) -> int:
        """Ready `sequence` is durable, up to `index`; how much of today's log that proves."""
        if sequence > self.sequence:
            raise InvariantError(f"Ready {sequence} is durable, but only {self.sequence} exist")
        self.persisted = max(self.persisted, sequence)
        while self._truncations and self._truncations[0][0] <= sequence:
            self._truncations.popleft()
        return min([index, *(cut - 1 for _, cut in self._truncations)])

    def has_output(self, log: RaftLog, commit: int, soft: SoftState) -> bool:
        """There is something for a Ready."""
        return bool(
            self.messages
            or self._unstable <= log.last_index
            or commit != self.commit
            or self.replies
            or self.synced_replies
            or self.synced_messages
            or self.hard_state is not None
            or self.reads
            or self.dropped_reads
            or self.loads
            or self.snapshots
            or self.reset is not None
            or self.truncated_from is not None
            or self.peers is not None
            or self.changes
            or self.removed is not None
            or soft != self._soft
        )

    def take(self, log: RaftLog, commit: int, soft: SoftState) -> Ready:
        """Hand everything out as the next Ready."""
        self.sequence += 1
        if self.hard_state is not None:
            self._hard_sequence = self.sequence
        size = max(log.cached_size(self._unstable, log.last_index + 1), 1)
        ready = Ready(
            self.sequence,
            commit,
            self.hard_state,
            log.cached(self._unstable, log.last_index + 1, size) or (),
            self.reset,
            self.messages,
            self.synced_messages,
            self.replies,
            self.synced_replies,
            self.reads,
            self.dropped_reads,
            self.loads,
            self.snapshots,
            None if soft == self._soft else soft,
            self.truncated_from,
            self.peers,
            self.changes,
            self.removed,
        )
        if ready.must_persist:
            self._stored_sequence = self.sequence
        if self._order_waits:
            self._ordered_sequence = self._stored_sequence
        self._unstable = log.last_index + 1
        self.commit = commit
        self._soft = soft
        self._clear()
        return ready
