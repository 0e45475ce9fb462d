"""Groups of random size and rules, with bounds small enough to be met."""

from __future__ import annotations

import random

from trioraft.raft import RaftConfig
from trioraft.raft.types import Configuration, EntryKind, Member, NodeId

__all__ = ["packed_terms", "random_config", "random_configuration"]


def packed_terms(term: int, node_id: NodeId) -> int:
    """The next term as openraft counts: (term, node) in one integer."""
    return ((term >> 64) + 1) << 64 | int(node_id)


def random_configuration(rng: random.Random) -> Configuration:
    """From one to five voters, sometimes a learner, sometimes in the middle of a change."""
    ids = [str(n) for n in range(1, rng.choice((1, 2, 3, 3, 3, 3, 4, 5)) + 1)]
    members = tuple(Member(i, f"{i}:1") for i in ids)
    shape = rng.random()
    if shape < 0.1 and len(members) > 2:
        return Configuration(members[:-1], learners=members[-1:])
    if shape < 0.2 and len(members) > 3:
        return Configuration(members[1:], old_voters=members[:3])
    return Configuration(members)


def random_config(rng: random.Random) -> RaftConfig:
    """The rules of one of the dialects, with random bounds."""
    # openraft's rules. Without the delay a short log with a large id could win every race to the
    # next ballot and lose every vote: about once in a thousand schedules.
    openraft = {"next_term": packed_terms, "adopt_term_on_reject": False, "behind_delay": 0.8}
    settings = openraft if rng.random() < 0.3 else {}
    return RaftConfig(
        election_timeout_min=0.2,
        election_timeout_max=0.4,
        heartbeat_interval=0.05,
        pre_vote=rng.random() < 0.6,
        check_quorum=rng.random() < 0.8,
        commit_notice_delay=rng.choice((0.0, 0.01)),
        first_entry=rng.choice((EntryKind.BLANK, EntryKind.CONFIGURATION)),
        max_inflight_appends=rng.choice((1, 2, 8)),
        max_append_entries=rng.choice((1, 3, 64)),
        max_append_bytes=rng.choice((4, 1 << 20)),
        max_cached_bytes=rng.choice((600, 1 << 20)),
        max_uncommitted_bytes=rng.choice((1500, 1 << 20)),
        **settings,  # type: ignore[arg-type]
    )
