"""The consensus core of one node: messages, time and disk reports in, one `Ready` out.

`RaftCore` is a deterministic function of its inputs and does no I/O. Calls take the time as
`now` (seconds, any origin, never falling). Whatever they lead to is collected until `ready` is
called; the caller carries it out and reports back with `persisted`, `step` and so on.

The rules are in the modules beside this one: `election`, `replication` (leader), `follower`,
`reads`, `transfer`, `reconfiguration`, `quiescence`, on the values in `state`, `log`, `progress`,
`membership` and `quorum`. What can be looked at is in `views`.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import TypeAlias

from . import election, follower, quiescence, reads, reconfiguration, replication, transfer
from .config import RaftConfig
from .errors import InvariantError, NotLeaderError
from .log import RaftLog
from .membership import MembershipChange
from .outbox import Outbox
from .proposals import propose as accept_proposals
from .quorum import Quorum
from .ready import Ready, SoftState
from .state import State
from .types import (
    NO_INDEX,
    NO_TERM,
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
from .views import CoreView

__all__ = ["Message", "RaftCore"]

Message: TypeAlias = VoteRequest | VoteReply | AppendRequest | AppendReply | StartElection


class RaftCore(CoreView):
    """One node of one group.

    After an InvariantError or any other unexpected exception the core must not be used again.
    A ValueError says that a message was impossible; nothing has changed, close its stream.
    """

    __slots__ = ()

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
            entry if known; CONFIGURATION entries in the log override it. A node that is to
            join a group starts with no members: it waits, and never campaigns.
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
            was_member=any(
                c.member(node_id) is not None
                for c in (
                    configuration,
                    *(Configuration.decode(e.data) for e in log.configurations),
                )
            ),
        )
        self._s.refresh_configuration()
        self._s.outbox.peers = None
        self._s.set_commit(commit)
        if log.base_term > hard_state.term:
            # A snapshot of a newer leader became durable, then we crashed before the term did.
            # Nothing was answered in that term, so no vote was given in it.
            self._s.set_hard_state(log.base_term, None)
        if hard_state.term > NO_TERM:
            self._s.heard = now  # what was promised to a leader before the restart holds on
        self._s.restart_timer()

    # --- time and messages

    def tick(self, now: float) -> None:
        """Let time pass: elections, heartbeats, check-quorum. Cheap when nothing is due."""
        s = self._s
        if s.resting:
            s.now = max(s.now, now)
            return
        s = self._advance(now)
        lead = s.leadership
        if lead is None:
            if s.may_campaign and now >= s.timer_start + s.timeout:
                election.election_timeout(s)
            return
        transfer.give_up_late(s, lead)
        if s.config.check_quorum and now >= lead.quorum_check_due:
            replication.check_quorum(s, lead)
        if s.leadership is lead and now >= lead.heartbeat_due:
            replication.broadcast_heartbeat(s)
            if s.config.priorities:
                transfer.offer_to_better(s, lead)

    def step(self, message: Message, token: object, now: float) -> None:
        """Take a peer's message in. `token` names the reply to it; None for replies.

        Every request is answered exactly once, through a Ready. Raises ValueError for a
        message that no correct peer sends, InvariantError if Raft itself is broken.
        """
        s = self._advance(now)
        if s.resting and not quiescence.is_idle_talk(s, message):
            quiescence.wake(s)
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
        return accept_proposals(self._awake(now), proposals)

    def read_index(self, token: object, now: float, *, lease: bool = False) -> None:
        """Ask up to where the log must be applied for a linearizable read (thesis §6.4).

        Answered through `Ready.reads` after a heartbeat round that begins after this call, or
        through `Ready.dropped_reads`. With `lease`, and as long as `lease_valid`, the next
        Ready answers without a round. Raises NotLeaderError.
        """
        s = self._awake(now)
        if s.leadership is None:
            raise NotLeaderError(s.leader_id)
        if lease and now < reads.lease_end(s):
            s.outbox.reads.append(([token], s.commit))
        else:
            s.leadership.reads.waiting.append(token)

    def change_membership(self, change: MembershipChange, token: object, now: float) -> None:
        """Change who is a member, by joint consensus where majorities change (Raft §6).

        The outcome comes through `Ready.changes` with `token`: the configuration, once it is
        committed (at once if nothing would change), or StagingTimeoutError (a new voter got no
        further for `staging_timeout`), NoQuorumError (no majority of the new voters answers),
        NotLeaderError (leadership was lost while new voters were staged; in these three cases
        nothing has changed) or ProposalDroppedError (it was lost later: the next leader ends
        what it finds in its log).

        Raises, and has changed nothing: NotLeaderError (also during a handover),
        LeaderNotReadyError, ChangeInProgressError, ConfigurationMismatchError, and
        ConfigurationError for members that cannot be: none that votes, an id twice, unknown
        ids, too many new voters at once (`RaftConfig.majority_add`).
        """
        reconfiguration.change_membership(self._awake(now), change, token)

    def abandon_change(self, now: float) -> bool:
        """Give up a change that waits for new voters to catch up; its token is answered.

        False if none does: then there is nothing to give up, or it can't be stopped any more.
        """
        return reconfiguration.abandon_change(self._advance(now))

    def transfer_leadership(self, target: NodeId | None, now: float) -> NodeId:
        """Hand leadership to `target`, or to the best voter; returns which.

        The best is one that answers, has the highest priority (with `priorities`) and most
        entries. Proposals are refused until it is done or an election timeout has passed.
        Raises NotLeaderError, ChangeInProgressError while members are changed, and
        ConfigurationError if the target is not another voter, or with `priorities` not one of
        the highest.
        """
        return transfer.transfer_leadership(self._awake(now), target)

    def step_down(self, now: float) -> None:
        """Stop leading without naming anybody (Ratis's transfer to nobody).

        What was proposed and is not committed is neither lost nor certain. Raises
        NotLeaderError.
        """
        transfer.step_down(self._awake(now))

    def pause_elections(self) -> None:
        """Do not stand for election until `resume_elections`; nor after a restart is it kept.

        A paused node votes, follows, and if it leads goes on leading; it refuses handovers.
        """
        self._s.elections_paused = True

    def resume_elections(self, now: float) -> None:
        """Stand for election again; the timer starts now."""
        s = self._advance(now)
        s.elections_paused = False
        s.restart_timer()

    # --- rest (many idle groups on one server)

    def rest(self, now: float, away: Collection[NodeId] = ()) -> bool:
        """Stop heartbeats, check-quorum or the election timer if `rest_possible`; whether so.

        Called by the host of many groups, for a follower only when its leader has said that it
        rests too, in this term and at this index. The host then watches the servers in their
        place and must `wake` the groups that had their leader on a server that is gone.
        Messages, proposals and reads wake by themselves. Affects liveness only.
        """
        return quiescence.rest(self._advance(now), away)

    def rest_leaderless(self, now: float) -> bool:
        """Rest without a leader, or before there was one; whether it rests, which a candidate
        that waits for votes does not.

        For a host of many groups, whose elections take turns: when few servers can be reached,
        or all groups begin at once, they would else starve each other.
        """
        return quiescence.rest_leaderless(self._advance(now))

    def leader_gone(self) -> None:
        """The server of the leader, under which this follower rests, is gone.

        It rests on; when it is woken, or asked for its vote, it does not wait for that leader.
        """
        quiescence.leader_gone(self._s)

    def wake(self, now: float) -> None:
        """Take up heartbeats and timers again, counted from now. Does nothing when awake.

        A follower whose leader is gone, or that has none, stands for election almost at once.
        """
        quiescence.wake(self._advance(now), eager=True)

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

    def vote_failed(self, voter: NodeId, now: float) -> None:
        """A VoteRequest got no answer and will not get one. Reporting it is optional.

        It only shortens the wait for voters of higher priority (`RaftConfig.priorities`).
        """
        election.vote_failed(self._advance(now), voter)

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
        return follower.snapshot_received(self._awake(now), request, token)

    def snapshot_installed(self, meta: SnapshotMeta, token: object, now: float) -> None:
        """The runtime has the snapshot durably. `Ready.reset` is set if it is taken over.

        It is not if the log has caught up with it in the meantime; either way the
        SnapshotReply goes out when the Ready is durable.
        """
        follower.snapshot_installed(self._awake(now), meta, token)

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

    def _awake(self, now: float) -> State:
        s = self._advance(now)
        if s.resting:
            quiescence.wake(s)
        return s

    def _advance(self, now: float) -> State:
        s = self._s
        if now > s.now:
            s.now = now
        s.pumped = False
        return s
