"""Every queue has a bound: what of a core, and of a node around it, is looked at.

appends in flight       count and bytes, for each follower; one may overshoot the bytes
uncommitted bytes       of what was proposed to this leader; one batch may go alone
rounds of reads         heartbeat rounds begun for reads and not confirmed
cached entries          those that are durable, as they count against `max_cached_bytes`
queues of the runtime   what `Group.occupancy` tells: peers' messages, proposals, reads and
                        queries, watches of every level, and the sessions' clients, calls
                        and replies
"""

from __future__ import annotations

from collections.abc import Iterable

from trioraft.node import Occupancy
from trioraft.raft import RaftConfig, RaftCore
from trioraft.raft.log import COPIES, ENTRY_OVERHEAD
from trioraft.raft.tracking.reads import MAX_READ_ROUNDS
from trioraft.raft.types import Role

__all__ = ["core_excess", "first_excess"]


def core_excess(core: RaftCore) -> str | None:
    """What of a core is above its bound, in words; None if nothing is."""
    config, log = core.config, core.log
    oldest = log.cached_from
    if oldest <= log.durable_index:
        cached = log.cached_bytes * COPIES + (log.last_index - oldest + 1) * ENTRY_OVERHEAD
        if cached > config.max_cached_bytes:
            return f"{cached} bytes of entries are cached, some of which are durable"
    return _leader_excess(core, config) if core.role is Role.LEADER else None


def first_excess(queues: Iterable[Occupancy]) -> str | None:
    """The first queue that holds more than it may, in words; None if none does."""
    for what, used, limit in queues:
        if used > limit:
            return f"{used} {what}, {limit} are allowed"
    return None


def _leader_excess(core: RaftCore, config: RaftConfig) -> str | None:
    batches, size = core.uncommitted
    if size > config.max_uncommitted_bytes and batches > 1:
        return f"{size} bytes in {batches} batches are uncommitted"
    if not batches and size:
        return f"{size} bytes are uncommitted, in no batch"
    if core.read_rounds > MAX_READ_ROUNDS:
        return f"{core.read_rounds} rounds were begun for reads"
    most_bytes = config.max_inflight_bytes + max(config.max_append_bytes, config.max_entry_bytes)
    for follower in core.followers:
        flight = follower.inflight
        count = len(flight)
        if count > config.max_inflight_appends:
            return f"{count} appends are in flight to {follower.id}"
        if flight.bytes >= (most_bytes if count else 1):
            return f"{flight.bytes} bytes are in flight to {follower.id} in {count} appends"
    return None
