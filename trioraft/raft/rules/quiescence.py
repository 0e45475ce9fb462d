"""Groups at rest: no heartbeats and no timers while nothing happens (TiKV and dragonboat do so).

A server with a thousand idle groups would otherwise spend its time on their heartbeats. The
runtime that hosts the groups watches the servers instead, and wakes the groups of one that is
gone. Rest is about liveness only: a core at rest keeps every promise of Raft, and everything
that could matter (a message, a proposal, a read) wakes it.
"""

from __future__ import annotations

from collections.abc import Collection

from trioraft.raft.messages import AppendReply, VoteReply, VoteRequest
from trioraft.raft.state import State
from trioraft.raft.types import NodeId, Role

from .roles import become_follower

__all__ = [
    "election_time",
    "is_idle_talk",
    "leader_gone",
    "rest",
    "rest_leaderless",
    "rest_possible",
    "wake",
]


def rest_possible(s: State, away: Collection[NodeId]) -> bool:
    """Nothing is under way here; for a leader, nothing anywhere but at those who are `away`."""
    last = s.log.last_index
    if s.commit != last or s.log.durable_index != last or not s.outbox.hard_state_durable:
        return False
    lead = s.leadership
    if lead is None:
        return s.role is Role.FOLLOWER and s.leader_id is not None
    if (
        s.commit < lead.term_start
        or lead.transfer is not None
        or lead.change is not None
        or lead.leaving
        or s.configuration.is_joint
        or not s.is_voter
        or lead.reads.waiting
        or lead.reads.begun
    ):
        return False
    followers = lead.followers

    def knows(voter: NodeId) -> int:
        return int(voter not in away)

    return s.quorum.agreed(knows, 0) == 1 and all(
        f.match_index == last and f.commit == s.commit
        for f in followers.values()
        if f.id not in away
    )


def rest(s: State, away: Collection[NodeId]) -> bool:
    """Rest if that is possible; whether it is."""
    s.resting = s.resting or rest_possible(s, away)
    return s.resting


def rest_leaderless(s: State) -> bool:
    """Stop asking for votes that do not come; whether it rests. A vote in this term is kept."""
    if s.leader_id is None and s.role in (Role.FOLLOWER, Role.PRE_CANDIDATE):
        become_follower(s, s.term)
        s.resting = True
    return s.resting


def leader_gone(s: State) -> None:
    """The server of the leader is gone: a follower that rests need not wait for it on waking."""
    s.leader_gone = s.resting and s.leadership is None


def wake(s: State, *, eager: bool = False) -> None:
    """Take up the timers again, from now: nobody is late for what was not expected.

    eager: without a leader, stand for election almost at once. For the host, which has done the
        waiting and lets few groups of many try at a time; not for one that a candidate wakes.
    """
    if not s.resting:
        return
    s.resting = False
    gone, s.leader_gone = s.leader_gone, False
    lead = s.leadership
    if lead is None:
        s.restart_timer()
        if s.leader_id is not None and not gone:
            # The leader counts as alive for as long as it would have with heartbeats: a server
            # that comes back and knows nobody must not depose it while it is still waking up.
            s.heard = s.now
        elif eager and _may_hurry(s):
            # A lease that somebody may still hold is kept: `heard` has not moved.
            s.timeout = s.rng.uniform(0.0, s.config.heartbeat_interval)
        return
    lead.heartbeat_due = s.now
    lead.quorum_check_due = s.now + s.config.election_timeout_max
    for follower in lead.followers.values():
        follower.contact = s.now


def election_time(s: State) -> float:
    """How long an eager wake may take to become an election that is over; 0.0: hardly anything.

    A node that has to let its timer run out must not be put to rest before it has: woken again,
    it would begin anew, and never stand for election.
    """
    if _may_hurry(s):
        return 0.0
    return 2 * s.config.election_timeout_max + (s.config.behind_delay if s.behind else 0.0)


def _may_hurry(s: State) -> bool:
    """A question whether an election could be won disturbs nobody, so it may come at once."""
    return s.config.pre_vote and not s.behind and not s.shut_out


def is_idle_talk(s: State, message: object) -> bool:
    """What needs no timers here: an answer that was still under way when this node went to rest
    and says nothing new, and the question whether a vote could be had where nobody leads."""
    if isinstance(message, VoteRequest):
        nobody_leads = s.leadership is None and (s.leader_id is None or s.leader_gone)
        return message.pre and nobody_leads
    if isinstance(message, AppendReply):
        return message.success and message.term == s.term
    return isinstance(message, VoteReply) and message.term == s.term
