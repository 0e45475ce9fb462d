"""The follower's side of replication: checks, log repair, commit, snapshots (Raft §5.3, §7)."""

from __future__ import annotations

from trioraft.raft.errors import InvariantError
from trioraft.raft.messages import AppendReply, AppendRequest, SnapshotReply, SnapshotRequest
from trioraft.raft.state import State
from trioraft.raft.types import NO_INDEX, NO_TERM, Configuration, EntryKind, SnapshotMeta

from .roles import follow

__all__ = ["handle_append_request", "snapshot_installed", "snapshot_received"]


def handle_append_request(s: State, request: AppendRequest, token: object) -> None:
    """Take entries or a heartbeat in and answer, once, in the order of the requests.

    Raises ValueError, before anything has changed, for what no correct leader sends, and
    InvariantError if the request contradicts a committed entry or names a second leader.
    """
    _validate(request)
    if request.term < s.term:
        _reply(s, request, token, success=False)
        return
    follow(s, request.term, request.leader)
    if request.prev_index > s.commit and not s.log.matches(request.prev_index, request.prev_term):
        _reject(s, request, token)
        return
    last = request.prev_index + len(request.entries)
    if request.prev_index < s.commit:
        _check_committed(s, request)
    _store(s, request)
    s.matched = max(s.matched, last)
    commit = min(request.commit, s.matched)
    if commit > s.commit:
        s.set_commit(commit)
    _reply(s, request, token, success=True, match_index=max(last, s.commit))


def snapshot_received(s: State, request: SnapshotRequest, token: object) -> bool:
    """Decide on the header of a snapshot; False if it was answered and is not wanted.

    Not wanted: a deposed leader's, and one whose last entry this log already has (§7): then
    everything up to it is committed, because snapshots hold nothing else.
    """
    if request.term < s.term:
        s.outbox.reply(token, SnapshotReply(s.term, s.node_id, success=False))
        return False
    follow(s, request.term, request.leader)
    return not _already_there(s, request.meta, token)


def snapshot_installed(s: State, meta: SnapshotMeta, token: object) -> None:
    """The snapshot is durable: start over behind it. The answer waits for the log's reset."""
    if _already_there(s, meta, token):
        return
    s.outbox.was_reset(meta, s.commit + 1)
    s.log.reset(meta.index, meta.term)
    s.base_configuration = meta.configuration
    s.base_configuration_index = meta.configuration_index
    s.refresh_configuration()
    s.set_commit(meta.index)
    s.matched = max(s.matched, meta.index)
    s.outbox.reply(token, SnapshotReply(s.term, s.node_id, True, meta.index), waits=True)


def _already_there(s: State, meta: SnapshotMeta, token: object) -> bool:
    """If the log has the snapshot's last entry, commit up to it and answer."""
    if meta.index > s.commit:
        if not s.log.matches(meta.index, meta.term):
            return False
        s.set_commit(meta.index)
        s.matched = max(s.matched, meta.index)
    reply = SnapshotReply(s.term, s.node_id, True, s.commit)
    s.outbox.reply(token, reply, waits=s.commit > s.log.durable_index)
    return True


def _validate(request: AppendRequest) -> None:
    """Entries must be consecutive, their terms must not fall, configurations must decode."""
    if request.heartbeat and request.entries:
        raise ValueError("a heartbeat with entries")
    index, term = request.prev_index, request.prev_term
    if index < NO_INDEX or (index == NO_INDEX and term != NO_TERM):
        raise ValueError(f"an append behind {term}/{index}, which cannot be")
    for entry in request.entries:
        index += 1
        if entry.index != index or entry.term < term:
            raise ValueError(
                f"entry {entry.term}/{entry.index} cannot follow {term}/{index - 1} in an append"
            )
        term = entry.term
        if entry.kind is EntryKind.CONFIGURATION:
            Configuration.decode(entry.data)
    if term > request.term:
        raise ValueError(f"entry of term {term} in an append of term {request.term}")


def _check_committed(s: State, request: AppendRequest) -> None:
    """What is committed here must be in every later leader's log (§5.4.3): no leader denies it."""
    last = request.prev_index + len(request.entries)
    known = [(request.prev_index, request.prev_term)]
    if request.entries:
        newest = request.entries[min(s.commit, last) - request.prev_index - 1]
        known.append((newest.index, newest.term))
    for index, term in known:
        if index >= s.log.base_index and not s.log.matches(index, term):
            raise InvariantError(
                f"leader {request.leader} has {term}/{index}, but "
                f"{s.log.term_at(index)}/{index} is committed here"
            )


def _store(s: State, request: AppendRequest) -> None:
    """Append what is new, after dropping what conflicts with it (§5.3)."""
    entries = request.entries
    if request.prev_index < s.commit:
        entries = entries[s.commit - request.prev_index :]
    entries = entries[s.log.first_new(entries) :]
    if not entries:
        return
    repaired = entries[0].index <= s.log.last_index
    if repaired:
        s.truncate(entries[0].index)
    configurations = len(s.log.configurations)
    s.log.append(entries)
    if repaired or len(s.log.configurations) != configurations:
        s.refresh_configuration()


def _reject(s: State, request: AppendRequest, token: object) -> None:
    """Say how far back the logs can agree at most: a whole term per answer (thesis §5.3)."""
    hint = s.log.last_at_most(min(request.prev_index - 1, s.log.last_index), request.prev_term)
    hint = max(hint, s.commit)
    reply = AppendReply(
        s.term,
        s.node_id,
        success=False,
        rejected_prev=request.prev_index,
        hint_index=hint,
        hint_term=s.log.term_at(hint),
        commit=s.commit,
        round=request.round,
        heartbeat=request.heartbeat,
    )
    s.outbox.reply_append(token, reply, s.log.durable_index)


def _reply(
    s: State, request: AppendRequest, token: object, *, success: bool, match_index: int = NO_INDEX
) -> None:
    reply = AppendReply(
        s.term,
        s.node_id,
        success,
        match_index=NO_INDEX if request.heartbeat else match_index,
        rejected_prev=NO_INDEX if success else request.prev_index,
        commit=s.commit,
        round=request.round,
        heartbeat=request.heartbeat,
    )
    s.outbox.reply_append(token, reply, s.log.durable_index)
