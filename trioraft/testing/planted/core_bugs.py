"""Mistakes in the consensus core. Functions return what to put in place of the honest code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trioraft.raft.leadership import Leadership
from trioraft.raft.log import RaftLog
from trioraft.raft.messages import AppendReply, AppendRequest, VoteRequest
from trioraft.raft.outbox import Outbox
from trioraft.raft.rules import election, follower, leases, replication
from trioraft.raft.state import State
from trioraft.raft.tracking import quorum
from trioraft.raft.types import NO_INDEX, HardState, NodeId

from .bug import Patches, PlantedBug

__all__ = ["CORE_BUGS"]


def _count_old_terms() -> Patches:
    honest = replication.advance_commit

    def advance_commit(s: State, lead: Leadership) -> None:
        start, lead.term_start = lead.term_start, NO_INDEX
        honest(s, lead)
        lead.term_start = start

    return ((replication, "advance_commit", advance_commit),)


def _forget_votes() -> Patches:
    honest = State.set_hard_state

    def set_hard_state(self: State, term: int, voted_for: NodeId | None) -> None:
        waiting = self.outbox.hard_state
        honest(self, term, voted_for)
        if voted_for is not None and self.outbox.hard_state is not None:
            self.outbox.hard_state = waiting or HardState(term, None)

    return ((State, "set_hard_state", set_hard_state),)


def _vote_for_any_log() -> Patches:
    return ((RaftLog, "is_up_to_date", lambda self, last_index, last_term: True),)


def _append_unchecked() -> Patches:
    honest = follower.handle_append_request

    def handle(s: State, request: AppendRequest, token: object) -> None:
        if s.commit < request.prev_index <= s.log.last_index:
            request = replace(request, prev_term=s.log.term_at(request.prev_index))
        honest(s, request, token)

    return ((follower, "handle_append_request", handle),)


def _acknowledge_early() -> Patches:
    def reply_append(self: Outbox, token: object, reply: AppendReply, durable_index: int) -> None:
        self.reply(token, reply)

    return ((Outbox, "reply_append", reply_append),)


def _count_unsynced() -> Patches:
    honest = replication.advance_commit

    def advance_commit(s: State, lead: Leadership) -> None:
        durable, s.log.durable_index = s.log.durable_index, s.log.last_index
        honest(s, lead)
        s.log.durable_index = durable

    return ((replication, "advance_commit", advance_commit),)


def _keep_conflicts() -> Patches:
    def first_new(self: RaftLog, entries: Any) -> int:
        return sum(entry.index <= self.last_index for entry in entries)

    return ((RaftLog, "first_new", first_new),)


def _read_without_a_round() -> Patches:
    honest = replication.broadcast_heartbeat

    def broadcast_heartbeat(s: State) -> None:
        honest(s)
        if s.leadership is not None and s.commit >= s.leadership.term_start:
            s.outbox.reads.extend(s.leadership.reads.confirmed(s.leadership.round))

    return ((replication, "broadcast_heartbeat", broadcast_heartbeat),)


def _read_before_the_first_commit() -> Patches:
    beat, settle = replication.broadcast_heartbeat, replication._settle_reads

    def broadcast_heartbeat(s: State) -> None:
        if s.leadership is not None:
            start, s.leadership.term_start = s.leadership.term_start, NO_INDEX
            beat(s)
            s.leadership.term_start = start

    def settle_reads(s: State, lead: Leadership) -> None:
        start, lead.term_start = lead.term_start, NO_INDEX
        settle(s, lead)
        lead.term_start = start

    return (
        (replication, "broadcast_heartbeat", broadcast_heartbeat),
        (replication, "_settle_reads", settle_reads),
    )


def _one_majority() -> Patches:
    honest = quorum.Quorum.__init__

    def init(self: quorum.Quorum, configuration: Any) -> None:
        honest(self, configuration)
        self.voter_sets = self.voter_sets[:1]

    return ((quorum.Quorum, "__init__", init),)


def _commit_unmatched() -> Patches:
    honest = follower.handle_append_request

    def handle(s: State, request: AppendRequest, token: object) -> None:
        honest(s, request, token)
        if request.term == s.term:
            s.set_commit(max(s.commit, min(request.commit, s.log.last_index)))

    return ((follower, "handle_append_request", handle),)


def _vote_twice() -> Patches:
    honest = election.handle_vote_request

    def handle_vote_request(s: State, request: VoteRequest, token: object) -> None:
        if not request.pre and s.leadership is None:
            s.voted_for = s.leader_id = None
        honest(s, request, token)

    return ((election, "handle_vote_request", handle_vote_request),)


def _lease_for_ever() -> Patches:
    honest = leases.lease_end

    def lease_end(s: State) -> float:
        return s.now + 1.0 if honest(s) > 0.0 else honest(s)

    return ((leases, "lease_end", lease_end),)


def _bug(name: str, what: str, seeds: int, patches: Any) -> PlantedBug:
    return PlantedBug(name, "core", what, seeds, patches)


CORE_BUGS = (
    _bug("count-old-terms", "commit by counting an older term's entry (§5.4.2)", 200,
         _count_old_terms),
    _bug("forget-votes", "vote without persisting the vote", 100, _forget_votes),
    _bug("vote-twice", "vote for two candidates in one term", 2000, _vote_twice),
    _bug("vote-for-any-log", "skip the log check when voting", 1000, _vote_for_any_log),
    _bug("append-unchecked", "skip the log check when appending", 1000, _append_unchecked),
    _bug("acknowledge-early", "a follower acknowledges before fsync", 200, _acknowledge_early),
    _bug("count-unsynced", "the leader counts itself before fsync", 200, _count_unsynced),
    _bug("keep-conflicts", "keep entries that conflict with the leader's", 500, _keep_conflicts),
    _bug("commit-unmatched", "commit entries not yet compared with the leader's", 1000,
         _commit_unmatched),
    _bug("read-without-a-round", "serve reads without asking a quorum", 3000,
         _read_without_a_round),
    _bug("read-too-soon", "serve reads before the leader's term has committed", 3000,
         _read_before_the_first_commit),
    _bug("lease-for-ever", "trust a lease that has run out", 3000, _lease_for_ever),
    _bug("one-majority", "ask one majority of a joint configuration", 3000, _one_majority),
)  # fmt: skip
