"""Python's cycle collector in a server process: few and short passes."""

from __future__ import annotations

import gc

__all__ = ["tune_collector"]


def tune_collector() -> None:
    """Make the collector look less often, and never at what exists by now. For a whole process.

    A node makes many small objects and few cycles; at its default the collector takes a tenth of a
    leader's CPU time, in pauses that show in the slowest writes, and with a thousand groups it
    stands still longer than election timeouts. A pass of the middle generation looks at three
    young ones: 40 ms while a store grows, where twenty were 440 ms. What it leaves is looked at
    again after 9 million net allocations.

    Call it when a process has opened its groups. `trioraft node` does so; an application decides
    for itself, because the setting is for everything in its process.
    """
    gc.freeze()
    gc.set_threshold(50_000, 2, 60)
