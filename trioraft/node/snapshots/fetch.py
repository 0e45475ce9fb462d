"""Having the state machine fetch a snapshot, with growing pauses while that fails."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from contextlib import contextmanager

import trio

from trioraft.node.machine import SnapshotOffer, SnapshotPosition, StateMachine
from trioraft.node.settings import RuntimeSettings
from trioraft.raft.errors import ConfigurationError, OverloadedError, StorageError, TrioraftError
from trioraft.raft.types import NodeId
from trioraft.storage.interface import SnapshotWriter

from .parts import MachineSink

__all__ = ["NothingToFetchError", "SnapshotFetch", "SnapshotFetchError"]

logger = logging.getLogger(__name__)


class SnapshotFetchError(TrioraftError):
    """The state machine has not brought the snapshot that it was told of; says why."""


class NothingToFetchError(SnapshotFetchError):
    """The state machine says that there is nothing to be had at present."""


class SnapshotFetch:
    """Asks one group's machine, whoever has told of the snapshot."""

    def __init__(self, machine: StateMachine, settings: RuntimeSettings) -> None:
        """Raises ConfigurationError if the machine should fetch and doesn't know how to."""
        knows = type(machine).fetch_snapshot is not StateMachine.fetch_snapshot
        if settings.fetch_snapshots and not knows:
            raise ConfigurationError(f"{type(machine).__name__} does not fetch snapshots")
        self._machine = machine
        self._settings = settings
        self._retry_at = -math.inf
        self._pause = settings.snapshot_retry_min

    def check(self) -> None:
        """Raises OverloadedError while the machine is not to be asked again."""
        left = self._retry_at - trio.current_time()
        if left > 0:
            raise OverloadedError(f"the state machine fetches again in {left:.1f} s at the soonest")

    @contextmanager
    def attempt(self, index: int, leader: NodeId) -> Generator[None]:
        """One attempt, from fetching to installing: what comes of it decides on the next pause."""
        try:
            yield
        except (SnapshotFetchError, StorageError) as error:
            logger.warning(
                "snapshot %d of %s not fetched, next try in %g s: %s",
                index,
                leader,
                self._pause,
                error,
            )
            self._retry_at = trio.current_time() + self._pause
            self._pause = min(self._pause * 2, self._settings.snapshot_retry_max)
            raise
        self._pause = self._settings.snapshot_retry_min

    async def into(
        self, writer: SnapshotWriter, offer: SnapshotOffer, leader_term: int
    ) -> SnapshotPosition:
        """Have the machine's files written to `writer`; the position that they stand for.

        leader_term: no entry of the leader can have a higher one.

        Raises SnapshotFetchError for whatever the machine does wrong, StorageError if the disk
        does not take it. After an error or a cancellation the snapshot can only be abandoned.
        """
        sink = MachineSink(writer)
        try:
            position = await self._machine.fetch_snapshot(offer, sink)
        except StorageError:
            raise
        except Exception as error:  # whatever it is, another attempt may do better
            raise SnapshotFetchError(f"{type(error).__name__}: {error}") from error
        if position is None:
            raise NothingToFetchError("the state machine has found nothing to fetch")
        wanted = SnapshotPosition(offer.index, offer.term)
        if offer.exact and position != wanted:
            raise SnapshotFetchError(f"{position} where {wanted} and no other will do")
        if position.index < offer.index or not 0 < position.term <= leader_term:
            raise SnapshotFetchError(
                f"{position} where entry {offer.index} or a later one, up to term {leader_term}, "
                "must be"
            )
        await sink.finish()
        return position
