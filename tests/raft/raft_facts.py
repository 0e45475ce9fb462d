"""What must hold in a group of cores for ever once it has been seen (Raft figure 3)."""

from __future__ import annotations

from collections.abc import Sequence

from trioraft.raft import RaftCore
from trioraft.raft.types import (
    NO_INDEX,
    Entry,
    NodeId,
)


class Facts:
    """What is true for ever once it has been seen anywhere in the cluster (Raft figure 3)."""

    def __init__(self) -> None:
        self.leaders: dict[int, NodeId] = {}
        self.written: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.chosen: dict[int, int] = {}  # committed index -> term
        self.newest = NO_INDEX

    def leads(self, core: RaftCore) -> None:
        """Election safety, leader completeness."""
        known = self.leaders.setdefault(core.term, core.node_id)
        assert known == core.node_id, f"two leaders in term {core.term}"
        for index in range(core.log.base_index, self.newest + 1):
            if index in self.chosen:
                assert core.log.matches(index, self.chosen[index]), (
                    f"leader {core.node_id} of term {core.term} lacks committed {index}"
                )

    def writes(self, core: RaftCore, entries: Sequence[Entry]) -> None:
        """Log matching: an entry's index and term decide its content and what is before it."""
        for entry in entries:
            before = core.log.term_at(entry.index - 1)
            known = self.written.setdefault((entry.term, entry.index), (entry.data, before))
            assert known == (entry.data, before), f"log matching broken at {entry.index}"

    def commits(self, core: RaftCore, old: int) -> None:
        """State machine safety: no two nodes commit different entries at an index."""
        for index in range(max(old + 1, core.log.base_index, 0), core.commit + 1):
            term = core.log.term_at(index)
            assert self.chosen.setdefault(index, term) == term, f"two entries committed at {index}"
        self.newest = max(self.newest, core.commit)
