"""Taking writes in at the leader (Raft §5.3), within bounds."""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.raft.errors import EntryTooLargeError, OverloadedError
from trioraft.raft.log import ENTRY_OVERHEAD
from trioraft.raft.state import State
from trioraft.raft.types import Entry, EntryKind, Proposal

from .roles import writing_leadership

__all__ = ["propose"]


def propose(s: State, proposals: Sequence[Proposal]) -> range:
    """Append them all, or none; returns their indices. Raises as `RaftCore.propose` says."""
    lead = writing_leadership(s)
    first = s.log.last_index + 1
    if not proposals:
        return range(first, first)
    sizes = [len(proposal.data) for proposal in proposals]
    largest, limit = max(sizes), s.config.max_entry_bytes
    if largest > limit:
        raise EntryTooLargeError(f"entry of {largest} bytes is above max_entry_bytes={limit}")
    cost = sum(sizes) + ENTRY_OVERHEAD * len(sizes)
    if lead.uncommitted and lead.uncommitted_bytes + cost > s.config.max_uncommitted_bytes:
        raise OverloadedError(f"{lead.uncommitted_bytes} bytes of proposals are uncommitted")
    if any(proposal.kind is EntryKind.CONFIGURATION for proposal in proposals):
        raise ValueError("a configuration cannot be proposed as an entry")
    term = s.term
    s.log.append(
        [
            Entry(term, index, kind, data, session)
            for index, (data, session, kind) in enumerate(proposals, first)
        ]
    )
    lead.uncommitted.append((s.log.last_index, cost))
    lead.uncommitted_bytes += cost
    return range(first, first + len(proposals))
