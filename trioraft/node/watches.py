"""Those who wait until an entry has been replicated as far as they want it.

The levels are Ratis's (`raft.types.ReplicationLevel`). Only the leader can tell them; the driver
asks the core once a turn while somebody waits.
"""

from __future__ import annotations

from trioraft.raft.core import RaftCore
from trioraft.raft.types import ReplicationLevel

from .index_waits import IndexWaits
from .occupancy import Occupancy

__all__ = ["Watches"]


class Watches:
    """The waiting calls of one leadership, at most `limit` for each level."""

    def __init__(self, limit: int) -> None:
        self._levels = {level: IndexWaits(limit) for level in ReplicationLevel}
        # Every turn asks whether there is anybody.
        self._waiting = tuple(waits.slots for waits in self._levels.values())

    def __bool__(self) -> bool:
        return any(self._waiting)

    async def wait(self, index: int, level: ReplicationLevel) -> int:
        """Wait until `level` has reached `index`. See `IndexWaits.wait`."""
        return await self._levels[level].wait(index)

    def check(self, core: RaftCore) -> None:
        """Answer those whose index is reached. The core must lead."""
        for level, waits in self._levels.items():
            if waits:
                waits.reach(core.replicated(level))

    def occupancy(self) -> list[Occupancy]:
        """How many calls wait for each level."""
        return [
            Occupancy(f"watches of {level.name}", len(waits), waits.limit)
            for level, waits in self._levels.items()
        ]

    def fail_all(self, error: BaseException) -> None:
        """This node cannot tell any more."""
        for waits in self._levels.values():
            waits.fail_all(error)
