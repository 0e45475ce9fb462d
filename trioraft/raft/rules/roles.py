"""The four roles and the only ways from one to another (Raft figure 4, thesis §9.6)."""

from __future__ import annotations

from trioraft.raft.errors import InvariantError, NotLeaderError, ProposalDroppedError, TrioraftError
from trioraft.raft.leadership import ChangePhase, Leadership
from trioraft.raft.state import State
from trioraft.raft.types import Entry, EntryKind, NodeId, Role

__all__ = [
    "become_candidate",
    "become_follower",
    "become_leader",
    "become_pre_candidate",
    "follow",
    "writing_leadership",
]


def become_follower(s: State, term: int, leader: NodeId | None = None) -> None:
    """Follow `leader`, or nobody yet, in `term`. A leader's open reads are dropped."""
    changed = term != s.term or leader != s.leader_id
    if term != s.term:
        s.set_hard_state(term, None)
    if changed:
        s.matched = s.commit
    s.leader_id = leader
    if s.role is not Role.FOLLOWER:
        _leave_role(s)
        s.role = Role.FOLLOWER
        s.restart_timer()


def follow(s: State, term: int, leader: NodeId) -> None:
    """A message of the leader of `term`, which is not below ours, has arrived.

    Raises ValueError if the leader is said to be this node, or if this node knows another
    leader of that term. One of the two is lying or broken; whoever it is, a node that goes on
    with the one it has can break nothing by it, and one that stopped could be stopped by any
    peer.
    """
    if leader == s.node_id:
        raise ValueError(f"a message of leader {leader} came back to it")
    if term == s.term and s.leader_id not in (None, leader):
        raise ValueError(f"{leader} claims term {term}, which is {s.leader_id}'s")
    if term != s.term or s.leader_id != leader or s.role is not Role.FOLLOWER:
        become_follower(s, term, leader)
    if s.behind or s.shut_out:
        s.behind = s.shut_out = False
        s.notice_removal()
        s.restart_timer()
    s.heard = s.timer_start = s.now


def writing_leadership(s: State) -> Leadership:
    """The leadership that may take something new in.

    Raises NotLeaderError without one, and while it is handed over: what was taken in then would
    be lost, or be the heir's.
    """
    lead = s.leadership
    if lead is None:
        raise NotLeaderError(s.leader_id)
    if lead.transfer is not None:
        target = lead.transfer.target
        raise NotLeaderError(target, f"leadership is being handed to {target}")
    return lead


def become_pre_candidate(s: State) -> None:
    """Ask whether an election could be won, changing nothing that is durable (thesis §9.6)."""
    _leave_role(s)
    s.role = Role.PRE_CANDIDATE
    s.leader_id = None
    s.votes = {s.node_id: True}
    s.behind = False
    s.restart_timer()


def become_candidate(s: State) -> None:
    """Begin a term and vote for ourselves; the vote counts when it is durable (Raft §5.2)."""
    term = s.config.next_term(s.term, s.node_id)
    if term <= s.term:
        raise InvariantError(f"next_term made {term} from {s.term}: it must be larger")
    _leave_role(s)
    s.set_hard_state(term, s.node_id)
    s.role = Role.CANDIDATE
    s.leader_id = None
    s.own_vote_pending = True
    s.behind = False
    s.restart_timer()


def become_leader(s: State) -> None:
    """Lead the term that was won: append its first entry, assume that followers keep up."""
    if s.role is not Role.CANDIDATE:
        raise InvariantError(f"{s.role.name} cannot become leader")
    _leave_role(s)
    s.role = Role.LEADER
    s.leader_id = s.node_id
    first = s.log.last_index + 1
    s.leadership = Leadership(
        term_start=first,
        heartbeat_due=s.now,
        quorum_check_due=s.now + s.config.election_timeout_max,
        yield_due=s.now + s.config.election_timeout_max,
    )
    s.refresh_peers()
    kind = s.config.first_entry
    data = s.configuration.encode() if kind is EntryKind.CONFIGURATION else b""
    s.log.append([Entry(s.term, first, kind, data)])
    s.refresh_configuration()


def _leave_role(s: State) -> None:
    s.votes = {}
    s.own_vote_pending = False
    lead = s.leadership
    if lead is None:
        return
    s.outbox.dropped_reads.extend(lead.reads.drop())
    if (change := lead.change) is not None:
        error: TrioraftError = ProposalDroppedError(
            "leadership was lost during the change of members; the next leader may finish it"
        )
        if change.phase is ChangePhase.STAGING:
            error = NotLeaderError(None, "leadership was lost before the members were changed")
        s.outbox.changes.append((change.token, error))
    s.leadership = None
    s.refresh_peers()
