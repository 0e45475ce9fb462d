"""The leader's side of replication: appends, heartbeats, acknowledgements, commit (Raft §5.3-5.4).

Nothing is sent while inputs are taken in. `pump` runs when the outputs are asked for and sends
each follower what it may have by then: inputs that arrive together leave in one append.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trioraft.raft.errors import InvariantError
from trioraft.raft.leadership import Leadership
from trioraft.raft.messages import AppendReply, AppendRequest
from trioraft.raft.ready import LoadEntries
from trioraft.raft.state import State
from trioraft.raft.tracking.progress import Progress, ProgressState
from trioraft.raft.types import NO_INDEX, NO_TERM, Entry, NodeId, SnapshotMeta

from . import reconfiguration
from .roles import become_follower
from .transfer import ask_target

__all__ = [
    "advance_commit",
    "broadcast_heartbeat",
    "check_quorum",
    "entries_loaded",
    "handle_append_reply",
    "pump",
    "snapshot_finished",
]


def pump(s: State) -> None:
    """Send every follower what it may have now, and begin a round if reads wait for one."""
    lead = s.leadership
    if lead is None or s.pumped or s.resting:
        return
    s.pumped = True
    if reconfiguration.has_work(s, lead):
        reconfiguration.advance(s, lead)
    if lead.reads.wants_round:
        broadcast_heartbeat(s)
    for follower in lead.followers.values():
        while not follower.paused and _send_append(s, lead, follower):
            pass
    ask_target(s, lead)


def broadcast_heartbeat(s: State) -> None:
    """Begin a round: one heartbeat to every follower; waiting reads are settled by its answers.

    A heartbeat claims only what is acknowledged, so a follower rejects it only if it has lost that.
    """
    lead = s.leadership
    if lead is None:
        raise InvariantError("only a leader sends heartbeats")
    lead.round += 1
    lead.round_times.append(s.now)
    lead.heartbeat_due = s.now + s.config.heartbeat_interval
    lead.reads.begin(lead.round, max(s.commit, lead.term_start))
    for follower in lead.followers.values():
        prev, prev_term = follower.match_index, NO_TERM
        if prev >= s.log.base_index:
            prev_term = s.log.term_at(prev)
        else:
            prev = NO_INDEX
        heartbeat = AppendRequest(
            s.term,
            s.node_id,
            prev,
            prev_term,
            (),
            min(s.commit, follower.match_index),
            lead.round,
            heartbeat=True,
        )
        s.outbox.messages.append((follower.id, heartbeat))
        follower.sent_commit = max(follower.sent_commit, heartbeat.commit)
    _settle_reads(s, lead)


def handle_append_reply(s: State, reply: AppendReply) -> None:
    """An answer of a follower. Raises ValueError if it claims what it cannot have."""
    if reply.term > s.term:
        become_follower(s, reply.term)
        return
    lead = s.leadership
    follower = lead.followers.get(reply.follower) if lead is not None else None
    if lead is None or follower is None or reply.term < s.term:
        return
    if reply.match_index > s.log.last_index:
        raise ValueError(
            f"{reply.follower} claims index {reply.match_index}, the log ends at {s.log.last_index}"
        )
    follower.contact = s.now
    if reply.commit > follower.commit:
        follower.commit = reply.commit
    if reply.success and reply.round > follower.acked_round:
        follower.acked_round = min(reply.round, lead.round)
        follower.acked_at = max(follower.acked_at, lead.round_time(follower.acked_round))
        _settle_reads(s, lead)
    if not reply.success:
        _rejected(s, follower, reply)
    elif reply.heartbeat:
        follower.heartbeat_answered()
    elif follower.accepted(reply.match_index):
        advance_commit(s, lead)


def advance_commit(s: State, lead: Leadership) -> None:
    """Commit what a quorum has durably; counting is valid for entries of this term (§5.4.2)."""
    followers = lead.followers

    def match_of(voter: NodeId) -> int:
        return s.log.durable_index if voter == s.node_id else followers[voter].match_index

    index = s.quorum.agreed(match_of, NO_INDEX)
    if index <= s.commit or index < lead.term_start:
        return
    s.set_commit(index)
    if lead.notice_due <= s.now:
        lead.notice_due = s.now + s.config.commit_notice_delay
    uncommitted = lead.uncommitted
    while uncommitted and uncommitted[0][0] <= index:
        lead.uncommitted_bytes -= uncommitted.popleft()[1]
    if lead.reads.begun:
        _settle_reads(s, lead)


def check_quorum(s: State, lead: Leadership) -> None:
    """Step down if no majority was heard from for the longest election timeout (thesis §6.2)."""
    followers = lead.followers

    def contact_of(voter: NodeId) -> float:
        return math.inf if voter == s.node_id else followers[voter].contact

    due = s.quorum.agreed(contact_of, math.inf) + s.config.election_timeout_max
    if due <= s.now:
        become_follower(s, s.term)
    else:
        lead.quorum_check_due = due


def entries_loaded(s: State, follower_id: NodeId, low: int, entries: Sequence[Entry]) -> None:
    """Entries were read from disk for a follower; send them if it still needs them."""
    lead = s.leadership
    follower = lead.followers.get(follower_id) if lead is not None else None
    if lead is None or follower is None or not follower.loading:
        return
    follower.loading = False
    wanted = (
        low == follower.next_index
        and low > s.log.base_index
        and bool(entries)
        and all(
            e.index == index and s.log.matches(index, e.term)
            for index, e in enumerate(entries, low)
        )
    )
    if wanted and not follower.paused and not follower.bare:
        _send(s, lead, follower, entries, sum(len(e.data) for e in entries))


def snapshot_finished(s: State, follower_id: NodeId, meta: SnapshotMeta | None) -> None:
    """The snapshot sender of a follower is done; None means that it failed."""
    lead = s.leadership
    follower = lead.followers.get(follower_id) if lead is not None else None
    if lead is None or follower is None:
        return
    if meta is None:
        follower.snapshot_failed()
    elif meta.index > s.log.last_index:
        raise ValueError(f"snapshot at {meta.index}, the log ends at {s.log.last_index}")
    else:
        follower.contact = s.now
        follower.snapshot_done(meta.index)
        advance_commit(s, lead)


def _send_append(s: State, lead: Leadership, follower: Progress) -> bool:
    """Send one append if there is something to say; False if there is not, or not now."""
    if follower.unproven and follower.match_index < s.log.last_index < follower.next_index:
        follower.next_index = s.log.last_index  # all of it may be there: the last entry proves it
    if follower.next_index <= s.log.base_index:
        follower.to_snapshot()
        s.outbox.snapshots.append(follower.id)
        return False
    low, last = follower.next_index, s.log.last_index
    if follower.bare or low > last:
        news = s.commit > follower.sent_commit and s.now >= lead.notice_due
        news = news or follower.state is ProgressState.PROBE
        if follower.bare or news:
            _send(s, lead, follower, (), 0)
        return False
    high = min(last + 1, low + s.config.max_append_entries)
    entries = s.log.cached(low, high, s.config.max_append_bytes)
    if entries is None:
        high = min(high, s.log.cached_from)
        follower.loading = True
        s.outbox.loads.append(LoadEntries(follower.id, low, high, s.config.max_append_bytes))
        return False
    _send(s, lead, follower, entries, s.log.cached_size(low, low + len(entries)))
    return True


def _send(
    s: State, lead: Leadership, follower: Progress, entries: Sequence[Entry], size: int
) -> None:
    prev = follower.next_index - 1
    request = AppendRequest(
        s.term, s.node_id, prev, s.log.term_at(prev), entries, s.commit, lead.round
    )
    s.outbox.messages.append((follower.id, request))
    follower.sent(prev + len(entries), size, s.commit)


def _rejected(s: State, follower: Progress, reply: AppendReply) -> None:
    """Find where to try next: skip every term that the hint rules out (thesis §5.3)."""
    rejected, hint = reply.rejected_prev, min(reply.hint_index, s.log.last_index)
    hinted = hint != rejected - 1 or reply.hint_term != NO_TERM
    if reply.hint_term != NO_TERM and s.log.base_index < hint < rejected:
        hint = s.log.last_at_most(hint, reply.hint_term)
    if reply.heartbeat:
        follower.heartbeat_denied(rejected, hint + 1, hinted)
    else:
        follower.rejected(rejected, hint + 1, hinted)


def _settle_reads(s: State, lead: Leadership) -> None:
    """Release reads whose round a quorum has acknowledged, once this term has committed."""
    if not lead.reads.begun or s.commit < lead.term_start:
        return
    followers = lead.followers

    def round_of(voter: NodeId) -> int:
        return lead.round if voter == s.node_id else followers[voter].acked_round

    s.outbox.reads.extend(lead.reads.confirmed(s.quorum.agreed(round_of, 0)))
