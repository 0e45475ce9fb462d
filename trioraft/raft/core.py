"""The consensus core of one node: messages, time and disk reports in, one `Ready` out.

`RaftCore` is a deterministic function of its inputs and does no I/O. Calls take the time as
`now` (seconds, any origin, never falling). Whatever they lead to is collected until `ready` is
called; the caller carries it out and reports back with `persisted`, `step` and so on.

The rules are plain functions (`rules`) on the node's `State`, with the `log` and, of a leader, what
it keeps count of (`tracking`). The class is one object in layers, so that no input passes from one
object to another: what can be looked at is in `views`, what is asked for in `calls`, what is
reported back in `reports`; here are time, messages and the way out.
"""

from __future__ import annotations

import random
from typing import TypeAlias

from .config import RaftConfig
from .errors import InvariantError
from .log import RaftLog
from .messages import AppendReply, AppendRequest, StartElection, VoteReply, VoteRequest
from .outbox import Outbox
from .ready import Ready, SoftState
from .reports import CoreReports
from .rules import election, follower, quiescence, replication, transfer
from .state import State
from .tracking.quorum import Quorum
from .types import NO_INDEX, NO_TERM, Configuration, HardState, NodeId, Role

__all__ = ["Message", "RaftCore"]

Message: TypeAlias = VoteRequest | VoteReply | AppendRequest | AppendReply | StartElection


class RaftCore(CoreReports):
    """One node of one group.

    After an InvariantError or any other unexpected exception the core must not be used again.
    A ValueError says that a message was impossible; nothing has changed, close its stream.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        node_id: NodeId,
        config: RaftConfig,
        configuration: Configuration,
        log: RaftLog,
        hard_state: HardState,
        rng: random.Random,
        now: float,
        commit: int = NO_INDEX,
        configuration_index: int = NO_INDEX,
    ) -> None:
        """Start as a follower, whatever this node was before.

        configuration: in force at the log's base (bootstrap or snapshot), and the index of its
            entry if known; CONFIGURATION entries in the log override it. A node that is to
            join a group starts with no members: it waits, and never campaigns.
        commit: known to be committed, such as the snapshot's index. The log's base always is.
        """
        commit = max(commit, log.base_index)
        if log.last_term > max(hard_state.term, log.base_term):
            raise InvariantError(
                f"the log holds term {log.last_term}, but the stored term is {hard_state.term}"
            )
        soft = SoftState(Role.FOLLOWER, hard_state.term, None)
        self._s = State(
            node_id=node_id,
            config=config,
            log=log,
            rng=rng,
            now=now,
            term=hard_state.term,
            voted_for=hard_state.voted_for,
            base_configuration=configuration,
            base_configuration_index=configuration_index,
            configuration=configuration,
            quorum=Quorum(configuration),
            outbox=Outbox(log.last_index, commit, soft),
            matched=commit,
            was_member=any(
                c.member(node_id) is not None
                for c in (
                    configuration,
                    *(Configuration.decode(e.data) for e in log.configurations),
                )
            ),
        )
        self._s.refresh_configuration()
        self._s.outbox.peers = None
        self._s.set_commit(commit)
        if log.base_term > hard_state.term:
            # A snapshot of a newer leader became durable, then we crashed before the term did.
            # Nothing was answered in that term, so no vote was given in it.
            self._s.set_hard_state(log.base_term, None)
        if hard_state.term > NO_TERM:
            self._s.heard = now  # what was promised to a leader before the restart holds on
        self._s.restart_timer()

    # --- time and messages

    def tick(self, now: float) -> None:
        """Let time pass: elections, heartbeats, check-quorum. Cheap when nothing is due."""
        s = self._s
        if s.resting:
            s.now = max(s.now, now)
            return
        s = self._advance(now)
        lead = s.leadership
        if lead is None:
            if s.may_campaign and now >= s.timer_start + s.timeout:
                election.election_timeout(s)
            return
        transfer.give_up_late(s, lead)
        if s.config.check_quorum and now >= lead.quorum_check_due:
            replication.check_quorum(s, lead)
        if s.leadership is lead and now >= lead.heartbeat_due:
            replication.broadcast_heartbeat(s)
            if s.config.priorities:
                transfer.offer_to_better(s, lead)

    def step(self, message: Message, token: object, now: float) -> None:
        """Take a peer's message in. `token` names the reply to it; None for replies.

        Every request is answered exactly once, through a Ready. Raises ValueError for a
        message that no correct peer sends, InvariantError if Raft itself is broken.
        """
        s = self._advance(now)
        if s.resting and not quiescence.is_idle_talk(s, message):
            quiescence.wake(s)
        if isinstance(message, AppendReply):
            replication.handle_append_reply(s, message)
        elif isinstance(message, AppendRequest):
            follower.handle_append_request(s, message, token)
        elif isinstance(message, VoteReply):
            election.handle_vote_reply(s, message)
        elif isinstance(message, VoteRequest):
            election.handle_vote_request(s, message, token)
        else:
            election.handle_start_election(s, message, token)

    # --- outputs

    def has_ready(self) -> bool:
        """`ready` would return something to do."""
        s = self._s
        replication.pump(s)
        return s.outbox.has_output(s.log, s.commit, self.soft)

    def ready(self) -> Ready:
        """Everything that came of the inputs since the last call. Carry it out, in order."""
        s = self._s
        replication.pump(s)
        return s.outbox.take(s.log, s.commit, self.soft)
