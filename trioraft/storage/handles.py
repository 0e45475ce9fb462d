"""How many log files of a directory are open at once, however many groups it has.

A group's newest file is opened when something is written to it, and closed when many others
have been written to since. So 3,000 idle groups hold no descriptor at all.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["DEFAULT_OPEN_FILES", "HandleCache", "Restable"]

DEFAULT_OPEN_FILES = 256  # per data directory; readers add at most one per worker thread


class Restable(Protocol):
    """Who holds an open file and can do without."""

    def rest(self) -> None:
        """Make durable what is not yet, and close the file. Reports failures by itself."""


class HandleCache:
    """The holders of open files, the least recently used first. For the writer thread alone."""

    def __init__(self, limit: int = DEFAULT_OPEN_FILES) -> None:
        if limit < 1:
            raise ValueError(f"a limit of {limit} open files; at least 1 is needed")
        self._limit = limit
        self._holders: dict[Restable, None] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def used(self, holder: Restable) -> None:
        """`holder` is about to use its file; at the limit another one's is closed first."""
        self._holders.pop(holder, None)
        while len(self._holders) >= self._limit:
            oldest = next(iter(self._holders))
            del self._holders[oldest]
            oldest.rest()
        self._holders[holder] = None

    def forget(self, holder: Restable) -> None:
        """`holder` has closed its file by itself."""
        self._holders.pop(holder, None)
