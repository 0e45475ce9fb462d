"""The state of one node's core, that the rules in the other modules work on.

`State` is everything in Raft's figure 2 for one node; `Leadership` exists exactly while the
node leads; `Outbox` collects what the rules want done and knows what is durable already.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from .config import RaftConfig
from .errors import InvariantError
from .log import RaftLog
from .outbox import Outbox
from .progress import Progress
from .quorum import Quorum
from .reads import ReadQueue
from .types import NO_INDEX, Configuration, HardState, NodeId, Role

__all__ = ["Leadership", "State", "Transfer"]


@dataclass(slots=True)
class Transfer:
    """A handover of leadership that is under way (thesis §3.10)."""

    target: NodeId
    deadline: float
    asked: bool = False  # StartElection was sent


@dataclass(slots=True)
class Leadership:
    """What only a leader has. Gone, with all its promises, when it steps down.

    term_start: index of the first entry of this term. Nothing is committed by counting before
        it is (Raft §5.4.2).
    round: number of the newest heartbeat round.
    notice_due: when followers that have not heard of the commit index are told of it.
    uncommitted: (last index, bytes) of batches of proposals that are not committed.
    """

    term_start: int
    heartbeat_due: float
    quorum_check_due: float
    followers: dict[NodeId, Progress] = field(default_factory=dict)
    round: int = 0
    notice_due: float = 0.0
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)
    uncommitted_bytes: int = 0
    reads: ReadQueue = field(default_factory=ReadQueue)
    transfer: Transfer | None = None


@dataclass(slots=True)
class State:
    """One node. Times are seconds on the clock of the inputs; `now` is the newest input's.

    base_configuration: in force at the log's base; `configuration` is the one in force now.
    matched: last index known to equal the present leader's log (never below `commit`).
    heard: when the present leader was last heard from.
    timer_start, timeout: the election timer; it fires at their sum.
    own_vote_pending: a candidate's own vote, that counts once it is durable.
    pumped: followers have been sent what they may have since the last input.
    behind: a voter with a longer log has refused this node since it last stood for election.
    """

    node_id: NodeId
    config: RaftConfig
    log: RaftLog
    rng: random.Random
    now: float
    term: int
    voted_for: NodeId | None
    base_configuration: Configuration
    base_configuration_index: int
    configuration: Configuration
    quorum: Quorum
    outbox: Outbox
    commit: int = NO_INDEX
    matched: int = NO_INDEX
    role: Role = Role.FOLLOWER
    leader_id: NodeId | None = None
    heard: float = 0.0
    timer_start: float = 0.0
    timeout: float = 0.0
    votes: dict[NodeId, bool] = field(default_factory=dict)
    own_vote_pending: bool = False
    behind: bool = False
    pumped: bool = False
    leadership: Leadership | None = None

    @property
    def is_voter(self) -> bool:
        return self.configuration.is_voter(self.node_id)

    @property
    def leader_alive(self) -> bool:
        """The leader of this term was heard from within the minimum election timeout."""
        if self.role is Role.LEADER:
            return True
        if self.leader_id is None:
            return False
        return self.now - self.heard < self.config.election_timeout_min

    def restart_timer(self) -> None:
        """Start the election timer with a new random timeout (Raft §5.2)."""
        self.timer_start = self.now
        self.timeout = self.rng.uniform(
            self.config.election_timeout_min, self.config.election_timeout_max
        )
        if self.behind:
            self.timeout += self.config.behind_delay

    def set_hard_state(self, term: int, voted_for: NodeId | None) -> None:
        """Change term or vote; whatever is answered from now on waits until it is durable."""
        if (term, voted_for) == (self.term, self.voted_for):
            return
        if term < self.term:
            raise InvariantError(f"term {self.term} would go back to {term}")
        if term == self.term and self.voted_for is not None:
            raise InvariantError(f"second vote in term {term}: {self.voted_for}, {voted_for}")
        self.term = term
        self.voted_for = voted_for
        self.outbox.hard_state = HardState(term, voted_for)

    def set_commit(self, index: int) -> None:
        """Entries up to `index` are committed."""
        if not self.commit <= index <= self.log.last_index:
            raise InvariantError(
                f"commit {index} is not in {self.commit}..{self.log.last_index} (the log's end)"
            )
        self.commit = index

    def truncate(self, index: int) -> None:
        """Drop the log from `index` on, which conflicts with the leader's (Raft §5.3)."""
        if index <= self.commit:
            raise InvariantError(f"truncation at {index}, but {self.commit} is committed")
        self.log.truncate(index)
        self.outbox.truncated(index)

    def refresh_configuration(self) -> None:
        """Put the newest configuration in the log in force: it counts once stored (§6)."""
        newest = self.log.configurations[-1] if self.log.configurations else None
        configuration = (
            self.base_configuration if newest is None else Configuration.decode(newest.data)
        )
        if configuration != self.configuration:
            self.configuration = configuration
            self.quorum = Quorum(configuration)
