"""The window of appends that a follower has been sent and has not answered.

Raft allows pipelining (thesis §10.2.1); the window bounds what a slow or silent follower costs
the leader, by requests and by bytes.
"""

from __future__ import annotations

from collections import deque

__all__ = ["Inflight"]


class Inflight:
    """Appends in flight to one follower, oldest first."""

    __slots__ = ("_appends", "bytes", "max_bytes", "max_count")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bytes = 0
        self._appends: deque[tuple[int, int]] = deque()  # (last index, bytes of entry data)

    def __len__(self) -> int:
        return len(self._appends)

    @property
    def full(self) -> bool:
        """No further append may be sent. One append may overshoot the bytes."""
        return len(self._appends) >= self.max_count or self.bytes >= self.max_bytes

    def add(self, last_index: int, size: int) -> None:
        """An append that ends at `last_index` with `size` bytes of data was sent."""
        self._appends.append((last_index, size))
        self.bytes += size

    def free_to(self, match_index: int) -> None:
        """The follower has everything up to `match_index`: forget the appends ending there."""
        appends = self._appends
        while appends and appends[0][0] <= match_index:
            self.bytes -= appends.popleft()[1]

    def clear(self) -> None:
        self._appends.clear()
        self.bytes = 0
