"""How far entries have come (Ratis's watch): counted over the voters, as the leader knows it."""

from __future__ import annotations

from .errors import NotLeaderError
from .state import State
from .types import NO_INDEX, NodeId, ReplicationLevel

__all__ = ["replicated"]


def replicated(s: State, level: ReplicationLevel) -> int:
    """The last index that has reached `level`; while a change is joint, in both voter sets.

    Raises NotLeaderError.
    """
    lead = s.leadership
    if lead is None:
        raise NotLeaderError(s.leader_id)
    followers = lead.followers

    def stored(voter: NodeId) -> int:
        return s.log.durable_index if voter == s.node_id else followers[voter].match_index

    def committed(voter: NodeId) -> int:
        return s.commit if voter == s.node_id else followers[voter].commit

    if level is ReplicationLevel.MAJORITY:
        return s.commit
    if level is ReplicationLevel.MAJORITY_COMMITTED:
        return min(s.quorum.agreed(committed, NO_INDEX), s.commit)
    reached = stored if level is ReplicationLevel.ALL else committed
    lowest = min(reached(voter) for voters in s.quorum.voter_sets for voter in voters)
    return min(lowest, s.commit)
