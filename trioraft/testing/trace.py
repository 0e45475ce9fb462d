"""What happened in a simulated run, as lines of text with a running hash.

Two runs are the same run exactly when their hashes agree; where they do not, the kept lines
of both, side by side, show the first step that differs.
"""

from __future__ import annotations

import hashlib
from collections import deque

import trio

__all__ = ["Trace"]


class Trace:
    """An append-only log of events in virtual time.

    The hash covers every event ever recorded; only the newest `keep` lines stay in memory
    (default 100 000), so a long run costs bounded memory.
    """

    def __init__(self, keep: int = 100_000) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self._digest = hashlib.sha256()
        self._lines: deque[str] = deque(maxlen=keep)
        self._count = 0

    def record(self, event: str) -> None:
        """Append one event, one line of text, at the current virtual time.

        Only from within a Trio run (RuntimeError otherwise). Raises ValueError for an event
        with a line break in it, as it would make two different logs hash alike.
        """
        if "\n" in event:
            raise ValueError(f"a trace event is one line of text, got {event!r}")
        line = f"{trio.current_time():.9f} {event}"
        self._digest.update(line.encode())
        self._digest.update(b"\n")
        self._lines.append(line)
        self._count += 1

    @property
    def count(self) -> int:
        """Events recorded so far, including those whose lines are no longer kept."""
        return self._count

    @property
    def lines(self) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines)

    def hash(self) -> str:
        """SHA-256 over all lines so far, in hexadecimal."""
        return self._digest.hexdigest()
