"""The consensus core of one node: messages, time and disk reports in, one `Ready` out.

`RaftCore` is a deterministic function of its inputs and does no I/O. Calls take the time as
`now` (seconds, any origin, never falling). Whatever they lead to is collected until `ready` is
called; the caller carries it out and reports back with `persisted`, `step` and so on.

The rules are in the modules beside this one: `election`, `replication` (leader), `follower`,
`reads`, `transfer`, on the values in `state`, `log`, `progress` and `quorum`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeAlias

from . import election, follower, replication, transfer
from .config import RaftConfig
from .errors import InvariantError, NotLeaderError
from .log import RaftLog
from .outbox import Outbox
from .progress import Progress
from .proposals import propose as accept_proposals
from .quorum import Quorum
from .ready import Ready, SoftState
from .state import State
from .types import (
    NO_INDEX,
    AppendReply,
    AppendRequest,
    Configuration,
    Entry,
    HardState,
    NodeId,
    Proposal,
    Role,
    SnapshotMeta,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)

__all__ = ["Message", "RaftCore"]

Message: TypeAlias = VoteRequest | VoteReply | AppendRequest | AppendReply | StartElection


class RaftCore:
    """One node of one group.

    After an InvariantError or any other unexpected exception the core must not be used again.
    A ValueError says that a message was impossible; nothing has changed, close its stream.
    """

    __slots__ = ("_s",)

    def __init__(
        self,
        *,
        node_id: NodeId,
        config: RaftConfig,
        configuration: Configuration,
        log: RaftLog,
        hard_state: HardState,
        rng: random.Random,
        now: float,
        commit: int = NO_INDEX,
        configuration_index: int = NO_INDEX,
    ) -> None:
        """Start as a follower, whatever this node was before.

        configuration: in force at the log's base (bootstrap or snapshot), and the index of its
            entry if known; CONFIGURATION entries in the log override it.
        commit: known to be committed, such as the snapshot's index. The log's base always is.
        """
        commit = max(commit, log.base_index)
        if log.last_term > max(hard_state.term, log.base_term):
            raise InvariantError(
                f"the log holds term {log.last_term}, but the stored term is {hard_state.term}"
            )
        soft = SoftState(Role.FOLLOWER, hard_state.term, None)
        self._s = State(
            node_id=node_id,
            config=config,
            log=log,
            rng=rng,
            now=now,
            term=hard_state.term,
            voted_for=hard_state.voted_for,
            base_configuration=configuration,
            base_configuration_index=configuration_index,
            configuration=configuration,
            quorum=Quorum(configuration),
            outbox=Outbox(log.last_index, commit, soft),
            matched=commit,
        )
        self._s.set_commit(commit)
        if log.base_term > hard_state.term:
            # A snapshot of a newer leader became durable, then we crashed before the term did.
            # Nothing was answered in that term, so no vote was given in it.
            self._s.set_hard_state(log.base_term, None)
        self._s.refresh_configuration()
        self._s.restart_timer()

    # --- time and messages

    @property
    def next_deadline(self) -> float:
        """When `tick` next has work (seconds, on the clock of the inputs); inf if never."""
        s = self._s
        lead = s.leadership
        if lead is None:
            return s.timer_start + s.timeout if s.is_voter else math.inf
        due = lead.heartbeat_due
        if lead.notice_due > s.now:
            due = min(due, lead.notice_due)
        if s.config.check_quorum:
            due = min(due, lead.quorum_check_due)
        return due if lead.transfer is None else min(due, lead.transfer.deadline)

    def tick(self, now: float) -> None:
        """Let time pass: elections, heartbeats, check-quorum. Cheap when nothing is due."""
        s = self._advance(now)
        lead = s.leadership
        if lead is None:
            if s.is_voter and now >= s.timer_start + s.timeout:
                election.election_timeout(s)
            return
        transfer.give_up_late(s, lead)
        if s.config.check_quorum and now >= lead.quorum_check_due:
            replication.check_quorum(s, lead)
        if s.leadership is lead and now >= lead.heartbeat_due:
            replication.broadcast_heartbeat(s)

    def step(self, message: Message, token: object, now: float) -> None:
        """Take a peer's message in. `token` names the reply to it; None for replies.

        Every request is answered exactly once, through a Ready. Raises ValueError for a
        message that no correct peer sends, InvariantError if Raft itself is broken.
        """
        s = self._advance(now)
        if isinstance(message, AppendReply):
            replication.handle_append_reply(s, message)
        elif isinstance(message, AppendRequest):
            follower.handle_append_request(s, message, token)
        elif isinstance(message, VoteReply):
            election.handle_vote_reply(s, message)
        elif isinstance(message, VoteRequest):
            election.handle_vote_request(s, message, token)
        else:
            election.handle_start_election(s, message, token)

    # --- what applications want

    def propose(self, proposals: Sequence[Proposal], now: float) -> range:
        """Append entries; returns their indices. All of them are taken, or none.

        Raises NotLeaderError (also while leadership is being handed over), EntryTooLargeError
        if one is above `max_entry_bytes`, OverloadedError if with them more than
        `max_uncommitted_bytes` would wait for a quorum (data, and `ENTRY_OVERHEAD` for each;
        a batch is always taken when nothing waits), and ValueError for a CONFIGURATION entry,
        which is not the application's to write.
        """
        return accept_proposals(self._advance(now), proposals)

    def read_index(self, token: object, now: float) -> None:
        """Ask up to where the log must be applied for a linearizable read (thesis §6.4).

        Answered through `Ready.reads` after a heartbeat round that begins after this call, or
        through `Ready.dropped_reads`. Raises NotLeaderError.
        """
        s = self._advance(now)
        if s.leadership is None:
            raise NotLeaderError(s.leader_id)
        s.leadership.reads.waiting.append(token)

    def transfer_leadership(self, target: NodeId | None, now: float) -> NodeId:
        """Hand leadership to `target`, or to the most caught-up voter; returns which.

        Proposals are refused until it is done or an election timeout has passed. Raises
        NotLeaderError, and ConfigurationError if the target is not another voter.
        """
        return transfer.transfer_leadership(self._advance(now), target)

    # --- reports of what a Ready asked for

    def persisted(self, index: int, term: int, sequence: int) -> None:
        """Ready `sequence` is durable, and all before it. Its last entry was `index`, `term`.

        `index` is NO_INDEX if it had no entries. Raises InvariantError if the log disagrees.
        """
        s = self._s
        s.pumped = False
        proven = s.outbox.mark_persisted(index, sequence)
        if proven > s.log.durable_index:
            if proven == index and not s.log.matches(index, term):
                raise InvariantError(f"{term}/{index} became durable but is not in the log")
            s.log.mark_durable(proven)
            if s.leadership is not None:
                replication.advance_commit(s, s.leadership)
        if s.own_vote_pending and s.outbox.hard_state_durable:
            election.own_vote_durable(s)

    def entries_loaded(
        self, follower: NodeId, low: int, entries: Sequence[Entry], now: float
    ) -> None:
        """Answer to `Ready.loads`: entries from `low` on; empty if they are gone by now."""
        replication.entries_loaded(self._advance(now), follower, low, entries)

    def snapshot_finished(self, follower: NodeId, meta: SnapshotMeta | None, now: float) -> None:
        """Answer to `Ready.snapshots`: the follower has `meta`, or (None) it failed."""
        replication.snapshot_finished(self._advance(now), follower, meta)

    def peer_unreachable(self, follower: NodeId, now: float) -> None:
        """The entry stream to a follower was lost; what was in flight on it is forgotten.

        One append goes out at once, for the next stream; do not report again for dropping it.
        """
        s = self._advance(now)
        progress = s.leadership.followers.get(follower) if s.leadership is not None else None
        if progress is not None:
            progress.stream_lost()

    def snapshot_received(self, request: SnapshotRequest, token: object, now: float) -> bool:
        """The header of a snapshot has arrived. True: spool it, then `snapshot_installed`.

        False: the answer is in the next Ready, and the bytes are not wanted. Raises ValueError
        and InvariantError as `step` does. Chunks are not the core's business: heartbeats keep
        the election timer quiet while they arrive.
        """
        return follower.snapshot_received(self._advance(now), request, token)

    def snapshot_installed(self, meta: SnapshotMeta, token: object, now: float) -> None:
        """The runtime has the snapshot durably. `Ready.reset` is set if it is taken over.

        It is not if the log has caught up with it in the meantime; either way the
        SnapshotReply goes out when the Ready is durable.
        """
        follower.snapshot_installed(self._advance(now), meta, token)

    def compact(self, meta: SnapshotMeta, keep_after: int) -> None:
        """A local snapshot exists at `meta`: entries up to `keep_after` may be forgotten.

        Raises ValueError if `keep_after` is above the snapshot's index.
        """
        s = self._s
        s.pumped = False
        if not keep_after <= meta.index <= s.commit:
            raise ValueError(
                f"compact to {keep_after} with a snapshot at {meta.index}, commit {s.commit}"
            )
        if keep_after > s.log.base_index:
            s.base_configuration_index, s.base_configuration = self.configuration_at(keep_after)
            s.log.compact(keep_after)

    # --- outputs

    def has_ready(self) -> bool:
        """`ready` would return something to do."""
        s = self._s
        replication.pump(s)
        return s.outbox.has_output(s.log, s.commit, self.soft)

    def ready(self) -> Ready:
        """Everything that came of the inputs since the last call. Carry it out, in order."""
        s = self._s
        replication.pump(s)
        return s.outbox.take(s.log, s.commit, self.soft)

    # --- views

    @property
    def soft(self) -> SoftState:
        s = self._s
        return SoftState(s.role, s.term, s.leader_id)

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
    def log(self) -> RaftLog:
        """Read-only, please."""
        return self._s.log

    def progress(self, follower: NodeId) -> Progress | None:
        """What this leader knows of a follower; None for others, and when not leading."""
        lead = self._s.leadership
        return lead.followers.get(follower) if lead is not None else None

    @property
    def transferring_to(self) -> NodeId | None:
        """The target of a handover that is under way."""
        lead = self._s.leadership
        return lead.transfer.target if lead is not None and lead.transfer is not None else None

    def _advance(self, now: float) -> State:
        s = self._s
        if now > s.now:
            s.now = now
        s.pumped = False
        return s
