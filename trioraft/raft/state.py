"""The state of one node's core, that the rules in the other modules work on.

`State` is everything in Raft's figure 2 for one node; `Leadership` (its own module) exists
exactly while the node leads; `Outbox` collects what the rules want done and knows what is
durable already.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from .config import RaftConfig
from .errors import InvariantError
from .leadership import Leadership
from .log import RaftLog
from .outbox import Outbox
from .tracking.progress import Progress
from .tracking.quorum import Quorum
from .types import NO_INDEX, Configuration, HardState, Member, NodeId, Role

__all__ = ["State"]

# Election timeouts that a node which was told that it is removed stays quiet for. It may have
# been told by a leader that is itself deposed, so it must not stay quiet for ever.
SHUT_OUT_TIMEOUTS = 10


@dataclass(slots=True)
class State:
    """One node. Times are seconds on the clock of the inputs; `now` is the newest input's.

    base_configuration: in force at the log's base; `configuration` is the one in force now,
        of the entry at `configuration_index`.
    peers: whom this node may have to reach.
    unvoted_at: index of the configuration that took this node its vote; NO_INDEX if none did.
    is_voter, is_member: what this node is in `configuration`; was_member: in any that it knew.
    matched: last index known to equal the present leader's log (never below `commit`).
    heard: when a leader was last heard from.
    timer_start, timeout: the election timer; it fires at their sum.
    own_vote_pending: a candidate's own vote, that counts once it is durable.
    pumped: followers have been sent what they may have since the last input.
    behind: a voter with a longer log has refused this node since it last stood for election.
    removal_told: what of `removed` a Ready has told.
    shut_out: a leader has said that this node is no member any more.
    elections_paused: this node does not stand for election.
    resting: no heartbeats, no election timer, until something wakes it.
    leader_gone: the host has lost sight of the leader under which this node rests.
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
    heard: float = -math.inf
    timer_start: float = 0.0
    timeout: float = 0.0
    votes: dict[NodeId, bool | None] = field(default_factory=dict)  # None: can't be asked
    own_vote_pending: bool = False
    behind: bool = False
    pumped: bool = False
    leadership: Leadership | None = None
    configuration_index: int = NO_INDEX
    peers: tuple[Member, ...] = ()
    unvoted_at: int = NO_INDEX
    is_voter: bool = False
    is_member: bool = False
    was_member: bool = False
    shut_out: bool = False
    removal_told: bool = False
    elections_paused: bool = False
    resting: bool = False
    leader_gone: bool = False

    @property
    def removed(self) -> bool:
        """This node was a member, and is not, as far as it knows. Anybody may be wrong here:
        a node that was removed and added again sees its old removal while it catches up."""
        if self.is_member or self.shut_out:
            return self.shut_out
        return self.was_member and self.configuration_index <= self.commit

    def priority_of(self, node_id: NodeId) -> int:
        """Its priority in elections; 0 for who is not known here."""
        member = self.configuration.member(node_id)
        return 0 if member is None else member.priority

    @property
    def may_campaign(self) -> bool:
        """It votes, or it would but for a configuration that is not known to be committed.

        In the second case it may be the only one that has that entry, and needed to commit it
        with the votes of the others (thesis §4.2.2); its own vote does not count.
        """
        return (self.is_voter or self.unvoted_at > self.commit) and not self.elections_paused

    @property
    def bound(self) -> bool:
        """A leader may hold a lease that rests on this node: whoever led when it was last
        heard from, whatever this node has learned since, and even if it has been restarted.

        Ends with the timer that waits for its end, to the last bit: both add up the same sum.
        """
        if not self.config.lease_reads:
            return False
        return self.now < self.heard + self.config.election_timeout_min

    @property
    def leader_alive(self) -> bool:
        """The leader of this term was heard from within the minimum election timeout."""
        if self.role is Role.LEADER:
            return True
        if self.leader_id is None:
            return False
        return self.now < self.heard + self.config.election_timeout_min

    def restart_timer(self) -> None:
        """Start the election timer with a new random timeout (Raft §5.2)."""
        self.timer_start = self.now
        self.timeout = self.rng.uniform(
            self.config.election_timeout_min, self.config.election_timeout_max
        )
        if self.behind:
            self.timeout += self.config.behind_delay
        if self.shut_out:
            self.timeout += SHUT_OUT_TIMEOUTS * self.config.election_timeout_max

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
        if not self.is_member:
            self.notice_removal()

    def truncate(self, index: int) -> None:
        """Drop the log from `index` on, which conflicts with the leader's (Raft §5.3)."""
        if index <= self.commit:
            raise InvariantError(f"truncation at {index}, but {self.commit} is committed")
        self.log.truncate(index)
        self.outbox.truncated(index)

    def refresh_configuration(self) -> None:
        """Put the newest configuration in the log in force: it counts once stored (§6)."""
        newest = self.log.configurations[-1] if self.log.configurations else None
        if newest is None:
            index, configuration = self.base_configuration_index, self.base_configuration
        else:
            index, configuration = newest.index, Configuration.decode(newest.data)
        self.configuration_index = index
        self.configuration = configuration
        self.quorum = Quorum(configuration)
        self.is_voter = configuration.is_voter(self.node_id)
        self.unvoted_at = NO_INDEX if self.is_voter else self._find_unvoted()
        self.is_member = configuration.member(self.node_id) is not None
        self.was_member = self.was_member or self.is_member
        self.notice_removal()
        self.refresh_peers()

    def notice_removal(self) -> None:
        """Whatever `removed` depends on may have changed: the next Ready tells if it has."""
        if self.removed is not self.removal_told:
            self.removal_told = self.removed
            self.outbox.removed = self.removal_told

    def _find_unvoted(self) -> int:
        """The oldest of the configurations without our vote that follow the last one with it."""
        after = NO_INDEX
        for entry in reversed(self.log.configurations):
            if Configuration.decode(entry.data).is_voter(self.node_id):
                return after
            after = entry.index
        return after if self.base_configuration.is_voter(self.node_id) else NO_INDEX

    def refresh_peers(self) -> None:
        """Know whom to reach; a leader keeps a Progress for exactly those."""
        lead = self.leadership
        reach = {m.id: m for m in self.configuration.members()}
        if lead is not None:
            for node_id, (member, _) in lead.leaving.items():
                reach.setdefault(node_id, member)
            if lead.change is not None:
                reach |= {peer.member.id: peer.member for peer in lead.change.staged.values()}
        reach.pop(self.node_id, None)
        peers = tuple(reach.values())
        if peers != self.peers:
            self.peers = peers
            self.outbox.peers_changed(peers)
        if lead is not None:
            known = lead.followers
            lead.followers = {
                m.id: known.get(m.id)
                or Progress.fresh(m.id, self.log.last_index, self.config, self.now)
                for m in peers
            }
