"""Looks at running replicas between all scheduler passes: promises, bounds, and who rests."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import trio

from trioraft.node import Group

from .bounds import first_excess
from .invariants import GroupInvariants, InvariantViolatedError

__all__ = ["PromiseWatch"]


@dataclass(slots=True)
class _Replica:
    group: Group
    invariants: GroupInvariants
    events: int = -1  # of its core, as many as there were when it was last looked at
    rests: bool = False


class PromiseWatch(trio.abc.Instrument):
    """Checks the replicas that it is told of. To be added to Trio's instruments.

    broken: what was wrong first, if anything was. `on_broken` is called then, because nothing that
        an instrument raises gets anywhere: Trio would drop it.
    rests: how often a replica went to rest.
    """

    def __init__(self, on_broken: Callable[[], object]) -> None:
        self.broken: Exception | None = None
        self.rests = 0
        self._on_broken = on_broken
        self._replicas: dict[Hashable, _Replica] = {}

    def begin(self, key: Hashable, group: Group, invariants: GroupInvariants) -> None:
        """A replica has been opened, on what its disk holds. Raises InvariantViolatedError.

        invariants: of its group, the same for all replicas.
        """
        invariants.started(group.core)
        self._replicas[key] = _Replica(group, invariants)

    def end(self, key: Hashable) -> None:
        """The replica is no more, whether it was closed or crashed. Harmless if it is unknown."""
        self._replicas.pop(key, None)

    def check(self) -> None:
        """Raise what was wrong."""
        if self.broken is not None:
            raise self.broken

    def before_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`."""
        for key, replica in self._replicas.items():
            core = replica.group.core
            if core.events == replica.events:
                continue
            replica.events = core.events
            if core.resting and not replica.rests:
                self.rests += 1
            replica.rests = core.resting
            try:
                replica.invariants.observe(core)
                if (excess := first_excess(replica.group.occupancy())) is not None:
                    raise InvariantViolatedError(f"{key}: bounds: {excess}")
            except Exception as error:
                self.broken = self.broken or error
                self._on_broken()
