"""Leases: linearizable reads without a round of heartbeats (thesis §6.4.1).

A read may be answered once a quorum has acknowledged a round that began *before* it: a voter that
answered votes for nobody else until `election_timeout_min` after it heard it, which is not before
it was sent. So no other leader can exist before that time, as long as clocks run at rates that
differ by less than 1 / lease_ratio. Voters keep that promise when they learn of newer terms and
when they restart (`State.bound`). Only a handover ends it early; once one has been begun in a
term, there are no leases in that term any more.
"""

from __future__ import annotations

import math

from trioraft.raft.state import State
from trioraft.raft.types import NodeId

__all__ = ["lease_end"]


def lease_end(s: State) -> float:
    """Until when this node is known to be the only leader (seconds); -inf without a lease."""
    lead = s.leadership
    if (
        lead is None
        or not s.config.lease_reads
        or lead.lease_void
        or lead.transfer is not None
        or s.commit < lead.term_start
    ):
        return -math.inf
    followers = lead.followers

    def acked_at(voter: NodeId) -> float:
        return math.inf if voter == s.node_id else followers[voter].acked_at

    length = s.config.lease_ratio * s.config.election_timeout_min
    return s.quorum.agreed(acked_at, -math.inf) + length
