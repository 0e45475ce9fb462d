"""Leader election (Raft §5.2, §5.4.1) with pre-vote and leader stickiness (thesis §4.2.3, §9.6).

A pre-vote asks at the candidate's *current* term whether an election could be won: an answer
commits nobody. A term is begun only after a majority has said yes, so that a node that comes
back from a partition does not disturb a working leader.

With priorities (Ratis's rules) a voter refuses a candidate of lower priority whose log is exactly
as good as its own, and a candidate lets every voter of higher priority answer, or fail to in an
election timeout, before it takes a majority for its victory.
"""

from __future__ import annotations

from trioraft.raft.messages import StartElection, VoteReply, VoteRequest
from trioraft.raft.state import State
from trioraft.raft.tracking.quorum import Tally
from trioraft.raft.types import NodeId, Role

from .replication import broadcast_heartbeat
from .roles import become_candidate, become_follower, become_leader, become_pre_candidate

__all__ = [
    "election_timeout",
    "handle_start_election",
    "handle_vote_reply",
    "handle_vote_request",
    "own_vote_durable",
    "vote_failed",
]


def election_timeout(s: State) -> None:
    """The election timer has fired: stand for election, if this node may."""
    if not s.may_campaign or s.role is Role.LEADER:
        s.restart_timer()
    elif s.bound:
        # Its own vote is promised, too. Timers run for as long as that, unless one was shortened.
        s.timer_start, s.timeout = s.heard, s.config.election_timeout_min
    elif s.config.priorities and s.quorum.tally(s.votes) is Tally.WON:
        _won(s)  # voters of higher priority have had their time
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
        s.may_campaign
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
        shutdown=not granted and _is_removed(s, request),
    )
    s.outbox.reply(token, reply)


def handle_vote_reply(s: State, reply: VoteReply) -> None:
    """Count a vote. Answers that belong to another election are recognized and ignored."""
    if not reply.granted and not s.behind and s.role is not Role.LEADER:
        s.behind = (reply.last_term, reply.last_index) > (s.log.last_term, s.log.last_index)
        if s.behind:
            s.restart_timer()  # let those that this voter may elect go first
    if reply.shutdown and s.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
        s.shut_out = True
        s.notice_removal()
        become_follower(s, max(s.term, reply.term))
        return
    if reply.term > s.term:
        become_follower(s, reply.term)
        return
    asked = Role.PRE_CANDIDATE if reply.pre else Role.CANDIDATE
    if s.role is not asked or not s.configuration.is_voter(reply.voter):
        return
    # A pre-vote may be granted by a voter at a lower term; a vote is given in its own term.
    if reply.granted and not reply.pre and reply.term != s.term:
        return
    if _claims_precedence(s, reply):
        become_follower(s, s.term)
        return
    if s.votes.get(reply.voter) is None:
        s.votes[reply.voter] = reply.granted
    _count(s)


def vote_failed(s: State, voter: NodeId) -> None:
    """A request for a vote got no answer: no vote, but nobody need wait for it either."""
    if s.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
        s.votes.setdefault(voter, None)
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
        and not s.bound
        and not _outranks(s, request)
    )


def _vote(s: State, request: VoteRequest) -> bool:
    """Vote, at most once per term, for a candidate whose log is not behind (§5.4.1).

    Whether this node or the candidate is a voter here is not asked: it may be one in a
    configuration that has not arrived yet, and the candidate knows (Raft §6).
    """
    handed_over = _is_handover(s, request)
    if request.term < s.term or (s.bound and not handed_over):
        return False
    up_to_date = s.log.is_up_to_date(request.last_index, request.last_term)
    if request.term > s.term:
        sticky = s.config.check_quorum and s.leader_alive and not handed_over
        if sticky or not (up_to_date or s.config.adopt_term_on_reject):
            return False
        become_follower(s, request.term)
    free = s.voted_for is None and s.leader_id is None
    if not up_to_date or not (free or s.voted_for == request.candidate):
        return False
    if free and _outranks(s, request):
        return False
    s.set_hard_state(s.term, request.candidate)
    s.restart_timer()
    return True


def _is_handover(s: State, request: VoteRequest) -> bool:
    """The leader has asked for this election itself, so no promise to it stands in the way."""
    lead = s.leadership
    if lead is not None and lead.transfer is not None and lead.transfer.asked:
        asked = request.candidate == lead.transfer.target
    else:
        asked = False
    return asked or (request.transfer and (s.config.marked_transfers or not s.config.lease_reads))


def _outranks(s: State, request: VoteRequest) -> bool:
    """With priorities: our log is as good as the candidate's, and our priority is higher."""
    return (
        s.config.priorities
        and s.may_campaign
        and (request.last_term, request.last_index) == (s.log.last_term, s.log.last_index)
        and s.configuration.is_voter(request.candidate)
        and s.priority_of(s.node_id) > s.priority_of(request.candidate)
    )


def _claims_precedence(s: State, reply: VoteReply) -> bool:
    """With priorities: a voter of higher priority, that could lead as well, refuses.

    One with a longer log has no such right: if a majority does without that log, the rest of
    it is not committed, and that voter may be one that can't win.
    """
    return (
        s.config.priorities
        and not reply.granted
        and (reply.last_term, reply.last_index) == (s.log.last_term, s.log.last_index)
        and s.priority_of(reply.voter) > s.priority_of(s.node_id)
    )


def _is_removed(s: State, request: VoteRequest) -> bool:
    """This leader knows that the candidate was removed (Ratis's `shouldShutdown`).

    The candidate has nothing that this leader has not, so no newer configuration either. It may
    have the entry that removed it, and not know after a restart that it is committed.
    """
    return (
        s.leadership is not None
        and not s.configuration.is_joint
        and s.configuration_index <= s.commit
        and (request.last_term, request.last_index) <= (s.log.last_term, s.log.last_index)
        and s.configuration.member(request.candidate) is None
        and request.candidate not in s.leadership.followers
    )


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
    if tally is Tally.WON and s.config.priorities:
        tally = _await_higher(s)
    if tally is Tally.LOST:
        become_follower(s, s.term)
    elif tally is Tally.WON:
        _won(s)


def _await_higher(s: State) -> Tally:
    """A majority is not enough while a voter of higher priority has not answered."""
    own = s.priority_of(s.node_id)
    higher = [
        m.id
        for m in s.configuration.members()
        if m.priority > own and s.configuration.is_voter(m.id)
    ]
    return Tally.WON if all(voter in s.votes for voter in higher) else Tally.PENDING


def _won(s: State) -> None:
    if s.role is Role.PRE_CANDIDATE:
        _campaign(s)
    else:
        become_leader(s)
        broadcast_heartbeat(s)
