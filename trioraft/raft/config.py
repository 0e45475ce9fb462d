"""The settings of a group, as data: what differs between dialects is here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import ConfigurationError
from .types import EntryKind, NodeId

__all__ = ["RaftConfig", "count_terms"]


def count_terms(term: int, node_id: NodeId) -> int:
    """The plain rule for the next term: 1, 2, 3 (Raft §5.1)."""
    return term + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """Settings of one group, the same on every node. Times are in seconds.

    next_term: makes the term of a new election from the current one and this node's id.
        Must return a larger integer. openraft packs (term, node id) into it.
    first_entry: kind of the entry that a new leader appends: CONFIGURATION (Ratis) or BLANK.
    pre_vote: ask before disturbing (thesis §9.6). Off for dialects whose wire has no pre-vote.
    adopt_term_on_reject: a voter takes over a higher term although the candidate's log is
        behind (plain Raft). openraft leaves its vote untouched then.
    commit_notice_delay: how long a new commit index may wait for an append or a heartbeat to
        travel with, before it is sent to followers on its own. Under load it always finds one,
        which saves an append and an answer per follower and batch.
    priorities: of two candidates with equally good logs the one with the higher
        `Member.priority` is elected, and a leader hands over to a voter of higher priority
        that keeps up (Ratis's rules). The same on every node.
    lease_reads: voters keep the promises that lease reads rest on, also across a restart:
        for `election_timeout_min` after its start a node that has been here before votes for
        nobody. The same on every node; needs `check_quorum`.
    marked_transfers: the wire says which votes are asked for because a leader hands over, so
        that voters can let those pass, and only those, while they are bound to a leader. On
        Ratis's every vote looks like that; with `lease_reads` voters then trust none of them, and
        a handover in a group of five or more takes an election timeout.
    lease_ratio: the part of `election_timeout_min` for which a leader trusts an acknowledged
        heartbeat. Clocks must not differ in rate by more than 1 / lease_ratio.
    staging_max_gap: a new voter takes part once it lacks at most this many committed entries.
    staging_timeout: a new voter that gets no further for this long is given up.
    majority_add: allow changes that bring in as many new voters as they keep, or more. Ratis
        refuses them (except 1 -> 2): if the new ones fail together, the group stands still.
    behind_delay: a candidate that a voter with a longer log has refused waits this much longer
        before its next attempt (openraft). Without pre-votes, and with voters that keep their
        terms, a node with a short log could otherwise keep the others from being elected.
    """

    election_timeout_min: float = 0.5
    election_timeout_max: float = 1.0
    heartbeat_interval: float = 0.1
    next_term: Callable[[int, NodeId], int] = count_terms
    first_entry: EntryKind = EntryKind.BLANK
    pre_vote: bool = True
    check_quorum: bool = True
    adopt_term_on_reject: bool = True
    behind_delay: float = 0.0
    commit_notice_delay: float = 0.01
    priorities: bool = False
    lease_reads: bool = False
    marked_transfers: bool = True
    lease_ratio: float = 0.9
    staging_max_gap: int = 1000  # entries
    staging_timeout: float = 10.0
    majority_add: bool = False
    max_inflight_appends: int = 64  # per follower, requests sent and not answered
    max_inflight_bytes: int = 16 << 20  # per follower
    max_append_bytes: int = 1 << 20  # entry data in one append; one larger entry goes alone
    max_append_entries: int = 1024
    max_entry_bytes: int = 4 << 20  # data of one proposal
    max_uncommitted_bytes: int = 64 << 20  # above it proposals are refused (OverloadedError)
    max_cached_bytes: int = 32 << 20  # entries kept in memory behind the durable end of the log

    def __post_init__(self) -> None:
        """Refuses settings that cannot work; raises ConfigurationError naming the field."""
        if not 0 < self.heartbeat_interval < self.election_timeout_min:
            raise ConfigurationError(
                f"heartbeat_interval={self.heartbeat_interval}: must be above 0 and below "
                f"election_timeout_min={self.election_timeout_min}"
            )
        if not self.election_timeout_min < self.election_timeout_max:
            raise ConfigurationError(
                f"election_timeout_max={self.election_timeout_max}: must be above "
                f"election_timeout_min={self.election_timeout_min}"
            )
        if not 0 < self.lease_ratio < 1:
            raise ConfigurationError(f"lease_ratio={self.lease_ratio}: must be between 0 and 1")
        if self.lease_reads and not self.check_quorum:
            raise ConfigurationError("lease_reads=True: needs check_quorum=True")
        for name in ("behind_delay", "commit_notice_delay", "staging_max_gap"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must not be negative")
        for name in (
            "max_inflight_appends",
            "max_inflight_bytes",
            "max_append_bytes",
            "max_append_entries",
            "max_entry_bytes",
            "max_uncommitted_bytes",
            "max_cached_bytes",
            "staging_timeout",
        ):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name}={getattr(self, name)}: must be above 0")
