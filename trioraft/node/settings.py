"""Bounds and periods of a group's runtime; the consensus rules are in `raft.RaftConfig`."""

from __future__ import annotations

from dataclasses import dataclass, field

from trioraft.raft.errors import ConfigurationError
from trioraft.storage.settings import StorageSettings

from .sessions import SessionLimits

__all__ = ["RuntimeSettings"]

_ABOVE_ZERO = (
    "max_inbox", "max_proposals", "max_reads", "max_watches", "max_orders", "max_unwritten_bytes",
    "apply_batch_bytes", "apply_batch_entries", "snapshot_after_entries", "snapshot_after_bytes",
    "snapshot_retry_min", "partial_snapshot_timeout", "snapshot_chunk_bytes", "reply_timeout",
    "reconnect_min",
)  # fmt: skip
_NOT_NEGATIVE = ("keep_entries", "keep_entries_max")
_ORDERED = (("snapshot_retry_min", "snapshot_retry_max"), ("reconnect_min", "reconnect_max"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeSettings:
    """Times are in seconds, sizes in bytes. At a bound a caller gets OverloadedError.

    Raises ConfigurationError for what cannot work, naming the field.

    snapshot_after_entries, snapshot_after_bytes: a snapshot is taken when either has been
        applied since the last one, and about as many bytes as the last one has.
    keep_entries: how many entries before a snapshot stay in the log for slow followers.
    keep_entries_max: as many stay while a follower that answers still needs them.
    snapshot_retry_min, snapshot_retry_max: how long after a snapshot could not be written, for
        want of space for instance, or fetched, the next is tried; doubled each time.
    fetch_snapshots: leaders send no state, they tell of it, and the follower's state machine
        fetches it (`StateMachine.fetch_snapshot`); the same on every node.
    partial_snapshot_timeout: how long a half-received snapshot waits to be gone on with.
    sessions: what is remembered of clients; the same on every node, see `SessionLimits`.
    max_unwritten_bytes: records that wait for a slow disk before proposals are refused.
    storage: sizes of files, and when they are synced.
    reply_timeout: a follower's stream with an unanswered request is reopened after it.
    """

    max_inbox: int = 4096  # messages from peers that the driver has not taken yet
    max_proposals: int = 16384  # proposals that wait for their outcome
    max_reads: int = 16384  # queries that wait for a quorum, and for their index or their turn
    max_watches: int = 16384  # calls that wait for one level of replication
    max_orders: int = 1024  # what operators ask for and its turn has not come, snapshots apart
    max_unwritten_bytes: int = 128 << 20
    apply_batch_bytes: int = 4 << 20  # what a state machine is given at a time, at most
    apply_batch_entries: int = 4096  # as many; some hundred while callers here wait for them
    snapshot_after_entries: int = 100_000
    snapshot_after_bytes: int = 256 << 20
    keep_entries: int = 10_000
    keep_entries_max: int = 200_000
    snapshot_retry_min: float = 1.0
    snapshot_retry_max: float = 60.0
    partial_snapshot_timeout: float = 60.0
    fetch_snapshots: bool = False
    snapshot_chunk_bytes: int = 1 << 18  # half the window of a stream: two are on their way
    reply_timeout: float = 5.0
    reconnect_min: float = 0.05
    reconnect_max: float = 1.0
    sessions: SessionLimits = field(default_factory=SessionLimits)
    storage: StorageSettings = field(default_factory=StorageSettings)

    def __post_init__(self) -> None:
        """Refuses settings that cannot work; raises ConfigurationError naming the field."""
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be above 0")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must not be negative")
        for low, high in _ORDERED:
            least, most = getattr(self, low), getattr(self, high)
            if not least <= most:
                raise ConfigurationError(f"{high}={most}: must not be below {low}={least}")
