"""A leader on a rig, and what is done to it."""

from __future__ import annotations

from raft_rig import Rig

from trioraft.raft.messages import AppendReply
from trioraft.raft.tracking.progress import Progress
from trioraft.raft.types import Proposal


def propose(rig: Rig, *data: bytes) -> range:
    return rig.core.propose([Proposal(d) for d in data], rig.now)


def progress(rig: Rig, follower: str = "n2") -> Progress:
    found = rig.core.progress(follower)
    assert found is not None
    return found


def leader(*terms: int, **settings: object) -> Rig:
    """A leader whose followers have its first entry, which is committed."""
    rig = Rig(*terms, **settings)  # type: ignore[arg-type]
    rig.lead()
    for follower in ("n2", "n3"):
        rig.accept(follower)
    rig.settle()
    for follower in ("n2", "n3"):
        rig.accept(follower)  # the append that told it of the commit
    assert rig.core.commit == rig.core.last_index == len(terms) + rig.core.log.base_index + 1
    return rig


def reject(rig: Rig, prev: int, hint: int, hint_term: int = 0, follower: str = "n2") -> None:
    term = rig.core.term
    rig.step(
        AppendReply(term, follower, False, rejected_prev=prev, hint_index=hint, hint_term=hint_term)
    )
