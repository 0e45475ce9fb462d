"""What applications and hosts want of a core."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .errors import NotLeaderError
from .membership import MembershipChange
from .rules import leases, quiescence, reconfiguration, transfer
from .rules.proposals import propose as accept_proposals
from .state import State
from .types import NodeId, Proposal
from .views import CoreView

__all__ = ["CoreCalls"]


class CoreCalls(CoreView):
    """The part of `RaftCore` that is asked for something."""

    __slots__ = ()

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
        if lease and now < leases.lease_end(s):
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
        entries. Proposals are refused until it is done, the target refuses (reported by
        `handover_refused`) or the longest election timeout has passed.
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

    # --- what every input begins with

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
