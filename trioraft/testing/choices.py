"""The settings that simulated groups run with, and which of them a seed chooses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from trioraft.host import LinkSettings as HostLinkSettings
from trioraft.host import RestSettings
from trioraft.node import RuntimeSettings
from trioraft.node.sessions import SessionLimits
from trioraft.raft import RaftConfig
from trioraft.storage import StorageSettings

from .network import LinkSettings

__all__ = [
    "HOST_LINKS",
    "LINKS",
    "REST",
    "SMALL",
    "TIGHT_SESSIONS",
    "draw_priorities",
    "draw_size",
    "tightened",
]

# Snapshots are frequent, and what followers need is often gone from the log, whose files are
# small: they are begun, sealed, deleted and recovered from all the time.
SMALL = RuntimeSettings(
    snapshot_after_entries=40,
    keep_entries=10,
    snapshot_chunk_bytes=500,
    storage=StorageSettings(segment_bytes=3000),
)
TIGHT_SESSIONS = SessionLimits(
    max_clients=3, idle_entries=60, max_foreign_calls=4, max_reply_bytes=2000
)

# Every third seed has groups that rest, at the first opportunity.
REST = RestSettings(idle_after=0.02, check_interval=0.01, election_patience=1.0)
HOST_LINKS = HostLinkSettings(interval=0.1, timeout=0.4)

# How the network is: one room, a busy one, a continent.
LINKS = (
    LinkSettings(),
    LinkSettings(latency_min=0.0005, latency_max=0.03, split=0.3),
    LinkSettings(latency_min=0.01, latency_max=0.04),
)


# How many nodes found the group: mostly three. One and two have rules of their own to obey, and
# with four and more a minority has company.
_SIZES = (1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 7)


def draw_size(rng: random.Random) -> int:
    """How many nodes the group begins with."""
    return rng.choice(_SIZES)


def draw_priorities(rng: random.Random, names: Sequence[str]) -> dict[str, int]:
    """Who should rather lead: in every third seed some, in the others everybody alike."""
    if rng.random() < 2 / 3:
        return {}
    return {name: rng.randrange(3) for name in names}


def tightened(config: RaftConfig, settings: RuntimeSettings) -> tuple[RaftConfig, RuntimeSettings]:
    """Queues with so little room that five clients meet their bounds."""
    return (
        replace(
            config,
            max_inflight_appends=2,
            max_inflight_bytes=300,
            max_append_entries=4,
            max_append_bytes=200,
            max_uncommitted_bytes=900,
            max_cached_bytes=4000,
        ),
        replace(settings, max_inbox=16, max_proposals=2, max_reads=2, max_watches=2),
    )
