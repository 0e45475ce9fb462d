"""What becomes of the things that a `Ready` has asked for."""

from __future__ import annotations

from collections.abc import Sequence

from .calls import CoreCalls
from .errors import InvariantError
from .messages import SnapshotRequest
from .rules import election, follower, replication, transfer
from .types import Entry, NodeId, SnapshotMeta

__all__ = ["CoreReports"]


class CoreReports(CoreCalls):
    """The part of `RaftCore` that is reported to, by disks, peers and snapshot transfers."""

    __slots__ = ()

    def persisted(self, index: int, term: int, sequence: int) -> None:
        """Ready `sequence` is durable, and all before it. Its last entry was `index`, `term`.

        `index` is NO_INDEX if it had no entries. Raises InvariantError if the log disagrees.
        """
        s = self._s
        s.pumped = False
        proven = s.outbox.mark_persisted(index, sequence)
        if proven > s.log.durable_index:
            if proven == index and not s.log.matches(index, term):
                raise InvariantError(f"{term}/{index} became durable but is not in the log")
            s.log.mark_durable(proven)
            if s.leadership is not None:
                replication.advance_commit(s, s.leadership)
        if s.own_vote_pending and s.outbox.hard_state_durable:
            election.own_vote_durable(s)

    def vote_failed(self, voter: NodeId, now: float) -> None:
        """A VoteRequest got no answer and will not get one. Reporting it is optional.

        It only shortens the wait for voters of higher priority (`RaftConfig.priorities`).
        """
        election.vote_failed(self._advance(now), voter)

    def handover_refused(self, target: NodeId, term: int, now: float) -> None:
        """`target` has answered the StartElection of `term` with no. Reporting it is optional.

        Proposals are taken again at once, where they else were refused until the handover is
        given up. To be reported for a definite no only: a target that may not have been
        reached, or whose answer is lost, may be campaigning.
        """
        transfer.handover_refused(self._advance(now), target, term)

    def entries_loaded(
        self, follower: NodeId, low: int, entries: Sequence[Entry], now: float
    ) -> None:
        """Answer to `Ready.loads`: entries from `low` on; empty if they are gone by now."""
        replication.entries_loaded(self._advance(now), follower, low, entries)

    def snapshot_finished(self, follower: NodeId, meta: SnapshotMeta | None, now: float) -> None:
        """Answer to `Ready.snapshots`: the follower has `meta`, or (None) it failed."""
        replication.snapshot_finished(self._advance(now), follower, meta)

    def peer_unreachable(self, follower: NodeId, now: float) -> None:
        """The entry stream to a follower was lost; what was in flight on it is forgotten.

        One append goes out at once, for the next stream; do not report again for dropping it.
        """
        s = self._advance(now)
        progress = s.leadership.followers.get(follower) if s.leadership is not None else None
        if progress is not None:
            progress.stream_lost()

    def snapshot_received(self, request: SnapshotRequest, token: object, now: float) -> bool:
        """The header of a snapshot has arrived. True: spool it, then `snapshot_installed`.

        False: the answer is in the next Ready, and the bytes are not wanted. Raises ValueError
        and InvariantError as `step` does. Chunks are not the core's business: heartbeats keep
        the election timer quiet while they arrive.
        """
        return follower.snapshot_received(self._awake(now), request, token)

    def snapshot_installed(self, meta: SnapshotMeta, token: object, now: float) -> None:
        """The runtime has the snapshot durably. `Ready.reset` is set if it is taken over.

        It is not if the log has caught up with it in the meantime; either way the
        SnapshotReply goes out when the Ready is durable.
        """
        follower.snapshot_installed(self._awake(now), meta, token)

    def compact(self, meta: SnapshotMeta, keep_after: int) -> None:
        """A local snapshot exists at `meta`: entries up to `keep_after` may be forgotten.

        Raises ValueError if `keep_after` is above the snapshot's index.
        """
        s = self._s
        s.pumped = False
        if not keep_after <= meta.index <= s.commit:
            raise ValueError(
                f"compact to {keep_after} with a snapshot at {meta.index}, commit {s.commit}"
            )
        if keep_after > s.log.base_index:
            s.base_configuration_index, s.base_configuration = self.configuration_at(keep_after)
            s.log.compact(keep_after)
