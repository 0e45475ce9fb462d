"""Leader election (Raft §5.2, §5.4.1) with pre-vote and leader stickiness (thesis §4.2.3, §9.6).

A pre-vote asks at the candidate's *current* term whether an election could be won: an answer
commits nobody. A term is begun only after a majority has said yes, so that a node that comes
back from a partition does not disturb a working leader.
"""

from __future__ import annotations

from .quorum import Tally
from .replication import broadcast_heartbeat
from .roles import become_candidate, become_follower, become_leader, become_pre_candidate
from .state import State
from .types import Role, StartElection, VoteReply, VoteRequest

__all__ = [
    "election_timeout",
    "handle_start_election",
    "handle_vote_reply",
    "handle_vote_request",
    "own_vote_durable",
]


def election_timeout(s: State) -> None:
    """The election timer has fired: stand for election, if this node may."""
    if not s.is_voter or s.role is Role.LEADER:
        s.restart_timer()
    elif s.config.pre_vote:
        become_pre_candidate(s)
        _ask_for_votes(s, pre=True)
        _count(s)
    else:
        _campaign(s)


def handle_start_election(s: State, request: StartElection, token: object) -> None:
    """The leader hands over (thesis §3.10): campaign at once, without pre-vote.

    Refused unless it comes from the leader of our term and we have everything it has.
    """
    accepted = (
        s.is_voter
        and s.role is Role.FOLLOWER
        and request.term == s.term
        and request.leader == s.leader_id
        and s.log.last_index >= request.last_index
        and s.log.last_term >= request.last_term
    )
    if accepted:
        _campaign(s, transfer=True)
    s.outbox.reply(token, accepted)


def handle_vote_request(s: State, request: VoteRequest, token: object) -> None:
    """Answer a candidate; a granted vote leaves after it is durable."""
    granted = _pre_vote(s, request) if request.pre else _vote(s, request)
    reply = VoteReply(
        term=s.term,
        voter=s.node_id,
        granted=granted,
        pre=request.pre,
        leader=s.leader_id,
        last_index=s.log.last_index,
        last_term=s.log.last_term,
    )
    s.outbox.reply(token, reply)


def handle_vote_reply(s: State, reply: VoteReply) -> None:
    """Count a vote. Answers that belong to another election are recognized and ignored."""
    if not reply.granted and not s.behind and s.role is not Role.LEADER:
        s.behind = (reply.last_term, reply.last_index) > (s.log.last_term, s.log.last_index)
        if s.behind:
            s.restart_timer()  # let those that this voter may elect go first
    if reply.term > s.term:
        become_follower(s, reply.term)
        return
    asked = Role.PRE_CANDIDATE if reply.pre else Role.CANDIDATE
    if s.role is not asked or not s.configuration.is_voter(reply.voter):
        return
    # A pre-vote may be granted by a voter at a lower term; a vote is given in its own term.
    if reply.granted and not reply.pre and reply.term != s.term:
        return
    s.votes.setdefault(reply.voter, reply.granted)
    _count(s)


def own_vote_durable(s: State) -> None:
    """The candidate's term and vote are on disk: now its own vote counts like the others."""
    s.own_vote_pending = False
    s.votes[s.node_id] = True
    _count(s)


def _pre_vote(s: State, request: VoteRequest) -> bool:
    """Would we vote for this candidate? Changes nothing."""
    return (
        request.term >= s.term
        and s.log.is_up_to_date(request.last_index, request.last_term)
        and not s.leader_alive
    )


def _vote(s: State, request: VoteRequest) -> bool:
    """Vote, at most once per term, for a candidate whose log is not behind (§5.4.1)."""
    if request.term < s.term:
        return False
    up_to_date = s.log.is_up_to_date(request.last_index, request.last_term)
    if request.term > s.term:
        sticky = s.config.check_quorum and s.leader_alive and not request.transfer
        if sticky or not (up_to_date or s.config.adopt_term_on_reject):
            return False
        become_follower(s, request.term)
    free = s.voted_for is None and s.leader_id is None
    if not up_to_date or not (free or s.voted_for == request.candidate):
        return False
    s.set_hard_state(s.term, request.candidate)
    s.behind = False
    s.restart_timer()
    return True


def _campaign(s: State, *, transfer: bool = False) -> None:
    become_candidate(s)
    _ask_for_votes(s, pre=False, transfer=transfer)


def _ask_for_votes(s: State, *, pre: bool, transfer: bool = False) -> None:
    """Send to every other voter; our own vote or term must be durable before others see it."""
    waits = not s.outbox.hard_state_durable
    for member in s.configuration.members():
        if member.id == s.node_id or not s.configuration.is_voter(member.id):
            continue
        request = VoteRequest(
            s.term, s.node_id, s.log.last_index, s.log.last_term, pre=pre, transfer=transfer
        )
        if waits:
            s.outbox.synced_messages.append((member.id, request))
        else:
            s.outbox.messages.append((member.id, request))


def _count(s: State) -> None:
    tally = s.quorum.tally(s.votes)
    if tally is Tally.LOST:
        become_follower(s, s.term)
    elif tally is Tally.WON and s.role is Role.PRE_CANDIDATE:
        _campaign(s)
    elif tally is Tally.WON:
        become_leader(s)
        broadcast_heartbeat(s)
