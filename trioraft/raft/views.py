"""What can be asked of a core without changing it."""

from __future__ import annotations

import math
from collections.abc import Collection

from .config import RaftConfig
from .leadership import ChangePhase
from .levels import replicated
from .log import RaftLog
from .ready import SoftState
from .rules import leases, quiescence
from .state import State
from .tracking.progress import Progress
from .types import Configuration, Member, NodeId, ReplicationLevel, Role

__all__ = ["CoreView"]


class CoreView:
    """The half of `RaftCore` that only looks."""

    __slots__ = ("_s",)

    _s: State

    @property
    def soft(self) -> SoftState:
        s = self._s
        return SoftState(s.role, s.term, s.leader_id, s.resting)

    @property
    def config(self) -> RaftConfig:
        """The settings of the group."""
        return self._s.config

    @property
    def node_id(self) -> NodeId:
        return self._s.node_id

    @property
    def role(self) -> Role:
        return self._s.role

    @property
    def term(self) -> int:
        return self._s.term

    @property
    def voted_for(self) -> NodeId | None:
        """Whom this node voted for in `term`."""
        return self._s.voted_for

    @property
    def events(self) -> int:
        """Grows whenever a Ready was taken or has become durable: what has not, has not changed."""
        outbox = self._s.outbox
        return outbox.sequence + outbox.persisted

    @property
    def hard_state_durable(self) -> bool:
        """`term` and `voted_for` are on disk."""
        return self._s.outbox.hard_state_durable

    @property
    def leader_id(self) -> NodeId | None:
        """The leader of `term`, as far as this node knows."""
        return self._s.leader_id

    @property
    def commit(self) -> int:
        return self._s.commit

    @property
    def last_index(self) -> int:
        return self._s.log.last_index

    @property
    def configuration(self) -> Configuration:
        """In force now: the newest in the log, committed or not (Raft §6)."""
        return self._s.configuration

    def configuration_at(self, index: int) -> tuple[int, Configuration]:
        """The configuration in force at `index`, and the index of its entry: for snapshots."""
        s = self._s
        for entry in reversed(s.log.configurations):
            if entry.index <= index:
                return entry.index, Configuration.decode(entry.data)
        return s.base_configuration_index, s.base_configuration

    @property
    def configuration_index(self) -> int:
        """Of the entry of `configuration`; NO_INDEX if it came without one."""
        return self._s.configuration_index

    @property
    def peers(self) -> tuple[Member, ...]:
        """Whom this node may have to reach now; see `Ready.peers`."""
        return self._s.peers

    @property
    def change_phase(self) -> ChangePhase | None:
        """How far the change of members is that this leader was asked for; None without one."""
        lead = self._s.leadership
        return lead.change.phase if lead is not None and lead.change is not None else None

    @property
    def staged(self) -> tuple[NodeId, ...]:
        """New voters that this leader brings up to date before the change can begin."""
        lead = self._s.leadership
        return tuple(lead.change.staged) if lead is not None and lead.change is not None else ()

    @property
    def removed(self) -> bool:
        """This node was a member and is not any more, or a leader has told it so.

        It does not campaign then (after being told, rarely). Not final: a node that was removed
        and added again goes through its old removal while it catches up.
        """
        return self._s.removed

    @property
    def elections_paused(self) -> bool:
        return self._s.elections_paused

    @property
    def log(self) -> RaftLog:
        """Read-only, please."""
        return self._s.log

    def progress(self, follower: NodeId) -> Progress | None:
        """What this leader knows of a follower; None for others, and when not leading."""
        lead = self._s.leadership
        return lead.followers.get(follower) if lead is not None else None

    @property
    def followers(self) -> Collection[Progress]:
        """What this leader knows of each of those it sends to; empty when not leading."""
        lead = self._s.leadership
        return lead.followers.values() if lead is not None else ()

    @property
    def transferring_to(self) -> NodeId | None:
        """The target of a handover that is under way."""
        lead = self._s.leadership
        return lead.transfer.target if lead is not None and lead.transfer is not None else None

    @property
    def handover_refused_by(self) -> NodeId | None:
        """The target of the newest handover that this leader was asked for or offered, if that
        target has refused it."""
        lead = self._s.leadership
        return lead.refused_by if lead is not None else None

    @property
    def open_reads(self) -> int:
        """Reads that this leader has taken in and that wait for a round's answers."""
        lead = self._s.leadership
        return lead.reads.open if lead is not None else 0

    @property
    def read_rounds(self) -> int:
        """Rounds of heartbeats that were begun for reads and are not confirmed."""
        lead = self._s.leadership
        return len(lead.reads.begun) if lead is not None else 0

    @property
    def uncommitted(self) -> tuple[int, int]:
        """Batches that were proposed here and are not committed, and what they count for in
        bytes: at most `max_uncommitted_bytes`, unless there is but one batch."""
        lead = self._s.leadership
        return (len(lead.uncommitted), lead.uncommitted_bytes) if lead is not None else (0, 0)

    @property
    def next_deadline(self) -> float:
        """When `tick` next has work (seconds, on the clock of the inputs); inf if never."""
        s = self._s
        if s.resting:
            return math.inf
        lead = s.leadership
        if lead is None:
            return s.timer_start + s.timeout if s.may_campaign else math.inf
        due = lead.heartbeat_due
        if lead.notice_due > s.now:
            due = min(due, lead.notice_due)
        if s.config.check_quorum:
            due = min(due, lead.quorum_check_due)
        return due if lead.transfer is None else min(due, lead.transfer.deadline)

    def lease_valid(self, now: float) -> bool:
        """Until a later time than `now` nobody else can lead, so `commit` is the read index.

        `now` must be from after the read has come in. True only with `lease_reads`, when a
        quorum has acknowledged a heartbeat sent less than `lease_ratio` times
        `election_timeout_min` ago, this term has committed an entry, and no handover was
        begun in it. It rests on clocks whose rates differ by less than 1 / lease_ratio.
        """
        return now < leases.lease_end(self._s)

    def replicated(self, level: ReplicationLevel) -> int:
        """The last index that has reached `level`, as this leader knows; NO_INDEX if none has.

        Costs a look at every voter. Raises NotLeaderError.
        """
        return replicated(self._s, level)

    def rest_possible(self, away: Collection[NodeId] = ()) -> bool:
        """Nothing is under way that heartbeats or timers are needed for.

        For a leader: everything is committed and durable, every follower that is not in `away`
        has it and knows that it is committed, a quorum is not away, and no read, handover or
        change of members waits. For a follower: it follows a leader, and all that it has is
        committed and durable. Anybody else: False.
        """
        return quiescence.rest_possible(self._s, away)

    def quorum_without(self, away: Collection[NodeId]) -> bool:
        """The voters that are not in `away` are a quorum."""
        return self._s.quorum.agreed(lambda voter: int(voter not in away), 0) == 1

    @property
    def resting(self) -> bool:
        return self._s.resting

    @property
    def election_time(self) -> float:
        """Seconds that an election of this node may take once `wake` is called, with its timer."""
        return quiescence.election_time(self._s)
