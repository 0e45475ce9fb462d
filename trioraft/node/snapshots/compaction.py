"""How much of the log stays behind a snapshot, for followers that are not there yet."""

from __future__ import annotations

from collections.abc import Iterable

from trioraft.node.settings import RuntimeSettings
from trioraft.raft.tracking.progress import Progress, ProgressState

__all__ = ["keep_after"]


def keep_after(
    taken: int, before: int, followers: Iterable[Progress], settings: RuntimeSettings
) -> int:
    """The index up to which the log may go, now that there is a snapshot of entry `taken`.

    `settings.keep_entries` stay in any case: sending those is quicker than a snapshot, and a
    follower may be gone for a moment. More stay, up to `keep_entries_max`, for a follower that
    answers: it would otherwise be sent a snapshot because it is a little slower than the rest, or,
    while it is being sent the one of entry `before`, be too late again when that is done. One that
    does not answer gets nothing kept: it may never come back.
    """
    kept = taken - settings.keep_entries
    for follower in followers:
        if follower.state is ProgressState.REPLICATE:
            kept = min(kept, follower.match_index)
        elif follower.state is ProgressState.SNAPSHOT:
            kept = min(kept, before)
    return max(kept, taken - max(settings.keep_entries, settings.keep_entries_max))
