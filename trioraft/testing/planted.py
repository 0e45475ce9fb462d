"""Bugs to plant, so that the simulator can prove that it sees.

Each is a mistake that real systems have made. `PlantedBug.planted()` makes the mistake for the
length of a block; the seeds of its level must find it within `seeds` of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from trioraft.raft import election as election_rules
from trioraft.raft import follower, quorum, replication
from trioraft.raft.log import RaftLog
from trioraft.raft.outbox import Outbox
from trioraft.raft.state import Leadership, State
from trioraft.raft.types import NO_INDEX, AppendReply, AppendRequest, HardState, NodeId, VoteReply

__all__ = ["BUGS", "PlantedBug"]


@dataclass(frozen=True)
class PlantedBug:
    """One mistake.

    level: `core` or `stack`, the simulation that is to find it.
    seeds: within how many seeds, counted from any, it was always found, with room to spare.
    patches: (owner, attribute, what to put there in place of the honest one).
    """

    name: str
    level: str
    what: str
    seeds: int
    patches: Callable[[], tuple[tuple[Any, str, Any], ...]]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the mistake in this process for the length of the block."""
        with ExitStack() as stack:
            for owner, name, wrong in self.patches():
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, wrong)
            yield


def _count_old_terms() -> tuple[tuple[Any, str, Any], ...]:
    honest = replication.advance_commit

    def advance_commit(s: State, lead: Leadership) -> None:
        start, lead.term_start = lead.term_start, NO_INDEX
        honest(s, lead)
        lead.term_start = start

    return ((replication, "advance_commit", advance_commit),)


def _forget_votes() -> tuple[tuple[Any, str, Any], ...]:
    honest = State.set_hard_state

    def set_hard_state(self: State, term: int, voted_for: NodeId | None) -> None:
        waiting = self.outbox.hard_state
        honest(self, term, voted_for)
        if voted_for is not None and self.outbox.hard_state is not None:
            self.outbox.hard_state = waiting or HardState(term, None)

    return ((State, "set_hard_state", set_hard_state),)


def _vote_for_any_log() -> tuple[tuple[Any, str, Any], ...]:
    return ((RaftLog, "is_up_to_date", lambda self, last_index, last_term: True),)


def _append_unchecked() -> tuple[tuple[Any, str, Any], ...]:
    honest = follower.handle_append_request

    def handle(s: State, request: AppendRequest, token: object) -> None:
        if s.commit < request.prev_index <= s.log.last_index:
            request = replace(request, prev_term=s.log.term_at(request.prev_index))
        honest(s, request, token)

    return ((follower, "handle_append_request", handle),)


def _acknowledge_early() -> tuple[tuple[Any, str, Any], ...]:
    def reply_append(self: Outbox, token: object, reply: AppendReply, durable_index: int) -> None:
        self.reply(token, reply)

    return ((Outbox, "reply_append", reply_append),)


def _count_unsynced() -> tuple[tuple[Any, str, Any], ...]:
    honest = replication.advance_commit

    def advance_commit(s: State, lead: Leadership) -> None:
        durable, s.log.durable_index = s.log.durable_index, s.log.last_index
        honest(s, lead)
        s.log.durable_index = durable

    return ((replication, "advance_commit", advance_commit),)


def _keep_conflicts() -> tuple[tuple[Any, str, Any], ...]:
    def first_new(self: RaftLog, entries: Any) -> int:
        return sum(entry.index <= self.last_index for entry in entries)

    return ((RaftLog, "first_new", first_new),)


def _read_without_a_round() -> tuple[tuple[Any, str, Any], ...]:
    honest = replication.broadcast_heartbeat

    def broadcast_heartbeat(s: State) -> None:
        honest(s)
        if s.leadership is not None and s.commit >= s.leadership.term_start:
            s.outbox.reads.extend(s.leadership.reads.confirmed(s.leadership.round))

    return ((replication, "broadcast_heartbeat", broadcast_heartbeat),)


def _read_before_the_first_commit() -> tuple[tuple[Any, str, Any], ...]:
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


def _one_majority() -> tuple[tuple[Any, str, Any], ...]:
    honest = quorum.Quorum.__init__

    def init(self: quorum.Quorum, configuration: Any) -> None:
        honest(self, configuration)
        self.voter_sets = self.voter_sets[:1]

    return ((quorum.Quorum, "__init__", init),)


def _commit_unmatched() -> tuple[tuple[Any, str, Any], ...]:
    honest = follower.handle_append_request

    def handle(s: State, request: AppendRequest, token: object) -> None:
        honest(s, request, token)
        if request.term == s.term:
            s.set_commit(max(s.commit, min(request.commit, s.log.last_index)))

    return ((follower, "handle_append_request", handle),)


def _count_stale_votes() -> tuple[tuple[Any, str, Any], ...]:
    honest = election_rules.handle_vote_reply

    def handle_vote_reply(s: State, reply: VoteReply) -> None:
        if reply.granted and not reply.pre and reply.term < s.term:
            reply = replace(reply, term=s.term)
        honest(s, reply)

    return ((election_rules, "handle_vote_reply", handle_vote_reply),)


BUGS = (
    PlantedBug(
        "count-old-terms", "core", "commit by counting replicas of an older term's entry (§5.4.2)",
        2000, _count_old_terms,
    ),
    PlantedBug("forget-votes", "core", "vote without persisting the vote", 2000, _forget_votes),
    PlantedBug(
        "vote-for-any-log", "core", "skip the log check when voting", 2000, _vote_for_any_log
    ),
    PlantedBug(
        "append-unchecked", "core", "skip the log check when appending", 2000, _append_unchecked
    ),
    PlantedBug(
        "acknowledge-early", "core", "a follower acknowledges before fsync", 200,
        _acknowledge_early,
    ),
    PlantedBug(
        "count-unsynced", "core", "the leader counts itself before fsync", 200, _count_unsynced
    ),
    PlantedBug(
        "keep-conflicts", "core", "keep entries that conflict with the leader's", 2000,
        _keep_conflicts,
    ),
    PlantedBug(
        "read-without-a-round", "core", "serve reads without asking a quorum", 2000,
        _read_without_a_round,
    ),
    PlantedBug(
        "read-too-soon", "core", "serve reads before the leader's term has committed", 20_000,
        _read_before_the_first_commit,
    ),
    PlantedBug(
        "one-majority", "core", "ask one majority of a joint configuration", 2000, _one_majority
    ),
    PlantedBug(
        "commit-unmatched", "core", "a follower commits what it has not compared with the leader",
        2000, _commit_unmatched,
    ),
    PlantedBug(
        "count-stale-votes", "core", "count votes of an earlier election", 2000,
        _count_stale_votes,
    ),
)  # fmt: skip
