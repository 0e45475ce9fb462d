"""What a leader knows of one follower, and how it sends to it (Raft §5.3, figure 2).

PROBE      where the logs part is unknown: one append at a time, until one is accepted
REPLICATE  the follower keeps up: appends are pipelined up to the window
SNAPSHOT   what it needs has left the log: nothing is sent until a snapshot is there
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from trioraft.raft.config import RaftConfig
from trioraft.raft.errors import InvariantError
from trioraft.raft.types import NO_INDEX, NodeId

from .inflight import Inflight

__all__ = ["Progress", "ProgressState"]


class ProgressState(Enum):
    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


@dataclass(slots=True)
class Progress:
    """One follower's replication. `match_index < next_index` always.

    match_index: last index known to be durable on the follower and equal to the leader's.
    next_index: first index of the next append; ahead of what is acknowledged in REPLICATE.
    contact: when any reply in this term last came (seconds, the core's clock).
    acked_round: newest heartbeat round that the follower has acknowledged.
    acked_at: when that round was sent; -inf before the first (seconds, the core's clock).
    commit: the follower's own commit index, as far as it has said.
    offer_due: when it may next be offered leadership; offer_pause: how many longest election
        timeouts lie between the last offer and that (`transfer.offer_to_better`).
    """

    id: NodeId
    next_index: int
    inflight: Inflight
    contact: float
    match_index: int = NO_INDEX
    state: ProgressState = ProgressState.PROBE
    acked_round: int = 0
    acked_at: float = -math.inf
    commit: int = NO_INDEX
    sent_commit: int = NO_INDEX
    loading: bool = False  # entries are being read from disk for it
    probe_sent: bool = False
    bare: bool = False  # the next append is a retry and carries no entries
    unproven: bool = False  # a bare probe was accepted by a wire that can't say up to where
    answered: bool = field(default=True)  # an append was answered since the last heartbeat was
    snapshot_lost: bool = False  # the newest snapshot for it did not arrive
    step: int = 1  # how far to go back when a rejection gives no hint
    offer_due: float = -math.inf
    offer_pause: int = 0

    @classmethod
    def fresh(cls, follower: NodeId, last_index: int, config: RaftConfig, now: float) -> Progress:
        """At the start of a leadership: assume that the follower has everything (§5.3)."""
        window = Inflight(config.max_inflight_appends, config.max_inflight_bytes)
        return cls(follower, last_index + 1, window, now)

    @property
    def paused(self) -> bool:
        """Nothing may be sent now, except heartbeats."""
        if self.state is ProgressState.REPLICATE:
            return self.loading or (self.inflight.full and not self.bare)
        return self.state is ProgressState.SNAPSHOT or self.loading or self.probe_sent

    def sent(self, last_index: int, size: int, commit: int) -> None:
        """An append that ends at `last_index` is on its way."""
        self.sent_commit = commit
        self.unproven = False
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
        elif not self.bare:
            self.answered = self.answered or not self.inflight
            self.inflight.add(last_index, size)
            self.next_index = last_index + 1
        self.bare = False

    def accepted(self, match_index: int) -> bool:
        """An append succeeded; True if `match_index` is news."""
        self.answered = True
        self.inflight.free_to(match_index)
        news = match_index > self.match_index
        if news:
            self.match_index = match_index
            self.next_index = max(self.next_index, match_index + 1)
        if self.state is ProgressState.PROBE:
            if match_index >= self.next_index - 1:
                self._enter(ProgressState.REPLICATE)
            else:
                self.unproven = True  # entries will prove it, at the pace of heartbeats
        self._check()
        return news

    def rejected(self, rejected_prev: int, retry_at: int, hinted: bool) -> None:
        """An append behind `rejected_prev` did not match; `retry_at` is where to try next.

        Without a hint the steps back double, so that n diverging entries cost log n rounds.
        Answers that belong to an earlier attempt are recognized and change nothing.
        """
        self.answered = True
        if self.state is ProgressState.REPLICATE:
            if rejected_prev > self.match_index:
                self.to_probe()
                # A follower that is ahead (it has committed them) says so: begin there.
                self.next_index = max(self.next_index, retry_at if retry_at > rejected_prev else 0)
            return
        if self.state is not ProgressState.PROBE or rejected_prev != self.next_index - 1:
            return
        if not hinted:
            retry_at = rejected_prev + 1 - self.step
            self.step *= 2
        retry_at = max(retry_at, self.match_index + 1)
        if retry_at != self.next_index:
            self.next_index = retry_at
            self.probe_sent = self.bare = False
        self._check()

    def heartbeat_denied(self, rejected_prev: int, retry_at: int, hinted: bool) -> None:
        """A follower denies what it had acknowledged: its disk was replaced, or it lied.

        What has been committed by counting it stays committed. It is brought up to date like
        any other, from where `rejected` would try next; until appends prove what it has, it
        counts for nothing.
        """
        if rejected_prev == self.match_index and self.match_index > NO_INDEX:
            self.match_index = NO_INDEX
            if self.state is not ProgressState.SNAPSHOT:
                self._enter(ProgressState.PROBE)
                self.next_index = rejected_prev + 1
                self.rejected(rejected_prev, retry_at, hinted)

    def heartbeat_answered(self) -> None:
        """The follower lives. If it owes an answer for a whole heartbeat, ask again, bare.

        That finds appends that were lost; a bare one is cheap if they are merely slow.
        """
        if not self.answered:
            if self.state is ProgressState.PROBE:
                self.bare, self.probe_sent = self.probe_sent and not self.unproven, False
            elif self.state is ProgressState.REPLICATE and self.inflight:
                self.bare = True
        self.answered = False

    def to_probe(self) -> None:
        """Forget what is in flight and begin again behind what is acknowledged."""
        self._enter(ProgressState.PROBE)
        self.next_index = self.match_index + 1

    def stream_lost(self) -> None:
        """Appends in flight are lost; a snapshot travels on its own and goes on."""
        if self.state is not ProgressState.SNAPSHOT:
            self.to_probe()

    def to_snapshot(self) -> None:
        self._enter(ProgressState.SNAPSHOT)

    def snapshot_done(self, index: int) -> None:
        """The follower has everything up to `index`, from a snapshot."""
        self.match_index = max(self.match_index, index)
        self.snapshot_lost = False
        if self.state is ProgressState.SNAPSHOT:
            self.to_probe()
        self.next_index = max(self.next_index, self.match_index + 1)

    def snapshot_failed(self) -> None:
        """Wait for the next sign of life before trying again."""
        if self.state is ProgressState.SNAPSHOT:
            self.to_probe()
            self.probe_sent = self.snapshot_lost = True

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.inflight.clear()
        self.probe_sent = self.bare = self.unproven = False
        self.step = 1

    def _check(self) -> None:
        if self.match_index >= self.next_index:
            raise InvariantError(
                f"{self.id}: match {self.match_index} is not below next {self.next_index}"
            )
