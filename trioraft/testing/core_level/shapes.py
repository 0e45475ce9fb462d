"""Groups of random size and rules, with bounds small enough to be met."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from trioraft.raft import RaftConfig
from trioraft.raft.membership import MembershipChange
from trioraft.raft.types import Configuration, EntryKind, Member, NodeId

__all__ = ["packed_terms", "random_change", "random_config", "random_configuration"]


def packed_terms(term: int, node_id: NodeId) -> int:
    """The next term as openraft counts: (term, node) in one integer."""
    return ((term >> 64) + 1) << 64 | int(node_id)


def random_configuration(rng: random.Random) -> tuple[Configuration, tuple[NodeId, ...]]:
    """From one to five members, sometimes a learner; and nodes that wait to be added."""
    size = rng.choice((1, 2, 3, 3, 3, 3, 4, 5))
    priorities = [rng.choice((0, 0, 1, 2)) for _ in range(size)]
    members = tuple(Member(str(n), f"{n}:1", p) for n, p in enumerate(priorities, 1))
    spare = tuple(str(size + 1 + n) for n in range(rng.choice((0, 0, 0, 1, 2))))
    if size > 2 and rng.random() < 0.15:
        return Configuration(members[:-1], learners=members[-1:]), spare
    return Configuration(members), spare


def random_config(rng: random.Random) -> RaftConfig:
    """The rules of one of the dialects, with random bounds."""
    # openraft's rules. Without the delay a short log with a large id could win every race to the
    # next ballot and lose every vote: about once in a thousand schedules.
    openraft = {"next_term": packed_terms, "adopt_term_on_reject": False, "behind_delay": 0.8}
    settings: dict[str, Any] = openraft if rng.random() < 0.3 else {}
    check_quorum = rng.random() < 0.8
    return RaftConfig(
        election_timeout_min=0.2,
        election_timeout_max=0.4,
        heartbeat_interval=0.05,
        pre_vote=rng.random() < 0.6,
        check_quorum=check_quorum,
        lease_reads=check_quorum and rng.random() < 0.5,
        priorities=rng.random() < 0.2,
        commit_notice_delay=rng.choice((0.0, 0.01)),
        first_entry=rng.choice((EntryKind.BLANK, EntryKind.CONFIGURATION)),
        staging_max_gap=rng.choice((1, 1000)),
        staging_timeout=rng.choice((0.5, 10.0)),
        max_inflight_appends=rng.choice((1, 2, 8)),
        max_append_entries=rng.choice((1, 3, 64)),
        max_append_bytes=rng.choice((4, 1 << 20)),
        max_cached_bytes=rng.choice((600, 1 << 20)),
        max_uncommitted_bytes=rng.choice((1500, 1 << 20)),
        **settings,
    )


def random_change(
    rng: random.Random, now: Configuration, ids: Sequence[NodeId]
) -> MembershipChange:
    """A wish for other members; some of them are refused."""
    member = Member(rng.choice(ids), f"{rng.randrange(3)}:1", rng.randrange(3))
    match rng.randrange(6):
        case 0:
            return MembershipChange.add((member,))
        case 1:
            return MembershipChange.add((), (member,))
        case 2:
            return MembershipChange.remove(member.id)
        case 3:
            return MembershipChange.promote(member.id)
        case 4:
            return MembershipChange.demote(member.id)
    chosen = tuple(Member(i, f"{i}:1") for i in ids if rng.random() < 0.6)
    if rng.random() < 0.5:
        return MembershipChange.set(chosen)
    return MembershipChange.compare_and_set(now, chosen)
