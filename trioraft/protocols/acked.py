"""What this node has acknowledged to the leader of each group: which empty appends are heartbeats.

An empty append asks "do you have everything up to here?". If this node has answered that
already, for this leader, the request is only a heartbeat and is answered without looking at
the disk; else the answer must wait until what it asks about is durable.
"""

from __future__ import annotations

from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.types import NO_INDEX, NO_TERM

__all__ = ["AckedIndex"]

#: Groups that are remembered. One that is forgotten has its next heartbeat wait for the disk.
_MAX_GROUPS = 65_536


class AckedIndex:
    """The highest index acknowledged, per group, in the newest term that was acknowledged.

    Within a term there is one leader and its log only grows, so an acknowledgement stands.

    It outlives the replica. A group that is deleted here and opened again in the same process and
    term, empty, would have heartbeats answered before the disk has what they ask about. Nobody
    counts on that: this member had to be removed before (consensus.md, "Members"), and was told
    nothing behind the entry that removed it, which was committed before the change that added
    it again could begin. So what is remembered ends below the entry that gives it a vote again; up
    to there everything is committed without it, and above nothing is covered. Nor does a heartbeat
    ever vouch for what is not in the log at all: the core compares it with the log first.
    Holds one pair per group that has been a follower here, of the last `_MAX_GROUPS` at most:
    groups come and go for as long as a server runs.
    """

    def __init__(self) -> None:
        self._acked: dict[bytes, tuple[int, int]] = {}

    def covers(self, group_id: bytes, request: AppendRequest) -> bool:
        """Whether everything up to the request's previous entry is acknowledged in its term."""
        if request.prev_index == NO_INDEX:
            return True
        term, index = self._acked.get(group_id, (NO_TERM, NO_INDEX))
        return term == request.term and request.prev_index <= index

    def note(self, group_id: bytes, reply: AppendReply) -> None:
        """Remember a reply that is about to leave."""
        if reply.success and reply.match_index != NO_INDEX:
            known = self._acked.get(group_id)
            if known is None:
                if len(self._acked) >= _MAX_GROUPS:
                    del self._acked[next(iter(self._acked))]
            elif (reply.term, reply.match_index) <= known:
                return
            self._acked[group_id] = (reply.term, reply.match_index)
