"""Raft's promises, over all nodes of one group, checked after every step.

`GroupInvariants` knows everything that was ever true in the group: who led which term, what
was written at which place, what was committed. `observe` looks at one core after a step and
compares what is new there with all of that, so a step costs what it changed. Both levels of
simulation use it. What is checked (Raft, figure 3, and the disk's part of it):

    election safety         one leader per term
    log matching            index and term decide an entry, and all entries before it
    leader completeness     a leader has everything that was committed before
    state machine safety    no two nodes commit different entries at an index
    commit moves forward    on every node between two starts of it; by counting replicas only
                            over entries of the leader's own term (§5.4.2)
    memory of promises      a term, a vote, a durable entry is still there after a restart
    bounds                  of every queue that a core has (`testing.bounds`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trioraft.raft import RaftCore
from trioraft.raft.types import (
    NO_INDEX,
    NO_TERM,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    Role,
)

from .bounds import core_excess

__all__ = ["GroupInvariants", "InvariantViolatedError"]


class InvariantViolatedError(AssertionError):
    """The group broke a promise; says which, where and with which numbers."""


@dataclass(slots=True)
class _Seen:
    """What was seen of a node at the end of its last step, and what its disk has promised."""

    term: int
    role: Role
    commit: int
    last: tuple[int, int]  # index and term of the last entry
    promised: HardState
    durable: tuple[int, int]
    before: Configuration  # in force at the end of that step


class GroupInvariants:
    """The memory of one group, from its first step on.

    is_stored: whether a node's disk really holds the entry (index, term); if given, a leader
        that commits an entry which no quorum holds is found at once, not only when a crash
        shows it.
    """

    def __init__(self, is_stored: Callable[[NodeId, int, int], bool] | None = None) -> None:
        self.leaders: dict[int, NodeId] = {}
        self.committed: list[int] = []  # the term of each committed index, from 0 on
        self.told: dict[NodeId, int] = {}  # the last index that a node ever knew to be committed
        self._written: dict[tuple[int, int], tuple[bytes, int, int]] = {}
        self._nodes: dict[NodeId, _Seen] = {}
        self._is_stored = is_stored

    @property
    def newest_commit(self) -> int:
        """The last index that any node has ever known to be committed, or -1."""
        return len(self.committed) - 1

    @property
    def durable(self) -> dict[NodeId, int]:
        """The last index that each node's disk has promised to hold."""
        return {node_id: seen.durable[0] for node_id, seen in self._nodes.items()}

    def started(self, core: RaftCore) -> None:
        """A core was built from its disk: what that had promised must be in it."""
        seen = self._nodes.get(core.node_id)
        if seen is not None:
            self._check_memory(core, seen)
        nothing = (NO_INDEX, NO_TERM)
        seen = _Seen(
            core.term, core.role, NO_INDEX, nothing, HardState(), nothing, core.configuration
        )
        self._nodes[core.node_id] = seen
        self._check_log(core, seen)
        self._promise(core, seen)

    def observe(self, core: RaftCore) -> None:
        """Look at a core after a step. Raises InvariantViolatedError."""
        seen = self._nodes[core.node_id]
        log = core.log
        if log.last_index != seen.last[0] or log.last_term != seen.last[1]:
            self._check_log(core, seen)
        if core.commit != seen.commit:
            self._check_commit(core, seen)
        if core.role is not seen.role or core.term != seen.term:
            self._check_role(core, seen)
        if (excess := core_excess(core)) is not None:
            _broken(core, f"bounds: {excess}")
        self._promise(core, seen)

    def forget(self, node_id: NodeId) -> None:
        """The node's disk was replaced by an empty one: it comes back as a new member."""
        self._nodes.pop(node_id, None)
        self.told.pop(node_id, None)

    # -- one promise each

    def _check_role(self, core: RaftCore, seen: _Seen) -> None:
        if core.term < seen.term:
            _broken(core, f"the term fell from {seen.term} to {core.term}")
        seen.term, seen.role = core.term, core.role
        if core.role is not Role.LEADER:
            return
        known = self.leaders.setdefault(core.term, core.node_id)
        if known != core.node_id:
            _broken(core, f"election safety: {known} leads term {core.term} as well")
        log = core.log
        for index in range(max(log.base_index, 0), len(self.committed)):
            if not log.matches(index, self.committed[index]):
                _broken(
                    core,
                    f"leader completeness: {self.committed[index]}/{index} was committed and "
                    f"the leader of term {core.term} does not have it",
                )

    def _check_log(self, core: RaftCore, seen: _Seen) -> None:
        log = core.log
        index, term = seen.last
        low = index + 1 if log.matches(index, term) else max(seen.commit, NO_INDEX) + 1
        low = max(low, log.cached_from, log.base_index + 1)
        entries: Sequence[Entry] = log.cached(low, log.last_index + 1, 1 << 40) or ()
        written = self._written
        before = log.term_at(low - 1) if entries else NO_TERM
        for entry in entries:
            data = entry.data if entry.kind is not EntryKind.CONFIGURATION else _voters(entry)
            fact = (data, int(entry.kind), before)
            known = written.setdefault((entry.term, entry.index), fact)
            if known != fact:
                _broken(
                    core,
                    f"log matching: {entry.term}/{entry.index} is {fact} here, {known} elsewhere",
                )
            before = entry.term
        seen.last = (log.last_index, log.last_term)

    def _check_commit(self, core: RaftCore, seen: _Seen) -> None:
        if core.commit < seen.commit:
            _broken(core, f"the commit index fell from {seen.commit} to {core.commit}")
        log, committed = core.log, self.committed
        newest = len(committed) - 1
        for index in range(max(seen.commit + 1, log.base_index, 0), core.commit + 1):
            term = log.term_at(index)
            if index == newest + 1:
                committed.append(term)
                newest = index
            elif index > newest:
                _broken(core, f"{index} is committed here, but nobody committed {newest + 1}")
            elif committed[index] != term:
                _broken(
                    core,
                    f"state machine safety: {term}/{index} is committed here, "
                    f"{committed[index]}/{index} elsewhere",
                )
        if core.role is Role.LEADER:
            if seen.role is Role.LEADER and log.term_at(core.commit) != core.term:
                _broken(core, f"commits {log.term_at(core.commit)}/{core.commit} by counting")
            if self._is_stored is not None:
                self._check_quorum(core, seen, self._is_stored)
        seen.commit = core.commit
        self.told[core.node_id] = max(self.told.get(core.node_id, NO_INDEX), core.commit)

    def _check_quorum(
        self, core: RaftCore, seen: _Seen, is_stored: Callable[[NodeId, int, int], bool]
    ) -> None:
        index, term = core.commit, core.log.term_at(core.commit)
        holders = {m.id for m in core.configuration.members() if is_stored(m.id, index, term)}
        # A step that commits can also bring the next configuration into force.
        if not (_is_quorum(core.configuration, holders) or _is_quorum(seen.before, holders)):
            names = ", ".join(sorted(holders)) or "nobody"
            _broken(core, f"{term}/{index} is committed, but only {names} has it on disk")

    def _check_memory(self, core: RaftCore, seen: _Seen) -> None:
        term, vote = seen.promised.term, seen.promised.voted_for
        if core.term < term:
            _broken(core, f"restarted in term {core.term}, but term {term} was durable")
        if core.term == term and vote is not None and core.voted_for != vote:
            _broken(core, f"restarted in term {term} without its vote for {vote}")
        index, entry_term = seen.durable
        if index > core.log.base_index and not core.log.matches(index, entry_term):
            _broken(core, f"restarted without {entry_term}/{index}, which was durable")

    def _promise(self, core: RaftCore, seen: _Seen) -> None:
        if core.hard_state_durable and (
            core.term != seen.promised.term or core.voted_for != seen.promised.voted_for
        ):
            seen.promised = HardState(core.term, core.voted_for)
        durable = core.log.durable_index
        seen.durable = (durable, core.log.term_at(durable))
        seen.before = core.configuration


def _voters(entry: Entry) -> bytes:
    """What must be equal of a configuration: not every wire tells who is demoted meanwhile."""
    configuration = Configuration.decode(entry.data)
    halves = (configuration.voters, configuration.old_voters)
    return "/".join(",".join(sorted(m.id for m in half)) for half in halves).encode()


def _is_quorum(configuration: Configuration, holders: set[NodeId]) -> bool:
    """`holders` has a majority of the voters, and of the old ones in a joint configuration."""
    halves = (configuration.voters, configuration.old_voters)
    return all(2 * sum(m.id in holders for m in half) > len(half) for half in halves if half)


def _broken(core: RaftCore, what: str) -> None:
    raise InvariantViolatedError(f"{core.node_id}: {what}")
