"""What can be chosen about a group's files, and when what is written is made durable."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["ALWAYS", "MAX_SEGMENT_BYTES", "FsyncPolicy", "StorageSettings"]

MAX_SEGMENT_BYTES = 1 << 30  # a record's checksum tells places apart within 4 GiB


@dataclass(frozen=True, slots=True)
class FsyncPolicy:
    """When the log is synced. `interval`: seconds that an acknowledged write may wait for it.

    0 (`always`) is what Raft's proof demands: a write, a vote and a term are on the disk before
    anybody is told. With the two weaker ones the node acknowledges what the kernel has taken:

    * a killed process loses nothing;
    * a power loss or a kernel crash loses up to `interval` of acknowledged writes on this node
      (`never`: what the kernel had not written by itself, about 30 s on Linux). If that hits a
      majority at once, committed writes are gone. A lost vote may even be given twice, to two
      leaders of one term, and then replicas diverge for good.

    Under each of them files are synced when they are full, deleted or closed, and snapshots
    always, so that what is found after a crash is still a prefix of what was written.
    """

    interval: float = 0.0

    def __post_init__(self) -> None:
        if not self.interval >= 0:
            raise ValueError(f"an fsync interval of {self.interval} s; it must not be negative")

    @classmethod
    def parse(cls, text: str) -> FsyncPolicy:
        """`always`, `interval:MS` or `never`. Raises ValueError."""
        name, colon, number = text.partition(":")
        if text == "always":
            return cls()
        if text == "never":
            return cls(math.inf)
        if name == "interval" and colon and number.isascii() and number.isdigit() and int(number):
            return cls(int(number) / 1000)
        raise ValueError(f"{text!r}: write always, never or interval:MS, for example interval:50")

    def __str__(self) -> str:
        if self.interval == 0:
            return "always"
        return "never" if math.isinf(self.interval) else f"interval:{self.interval * 1000:g}"


ALWAYS = FsyncPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Sizes are in bytes. ValueError for impossible ones.

    segment_bytes: a new file is begun once one has this many; a file is that long plus a batch.
    preallocate_bytes: reserved ahead in the file that is appended to, at most; a small file
        reserves as much as it holds, at least 16 KiB. 0 turns it off.
    queue_bytes: records waiting for the disk; beyond it `persist` raises OverloadedError.
    tail_bytes: entries that recovery hands over, with what they cost in memory.
    """

    segment_bytes: int = 64 << 20
    preallocate_bytes: int = 4 << 20
    queue_bytes: int = 256 << 20
    tail_bytes: int = 32 << 20
    fsync: FsyncPolicy = field(default=ALWAYS)

    def __post_init__(self) -> None:
        if min(self.segment_bytes, self.queue_bytes, self.tail_bytes) < 1:
            raise ValueError("segment_bytes, queue_bytes and tail_bytes must be at least 1")
        if self.segment_bytes > MAX_SEGMENT_BYTES:
            raise ValueError(
                f"segment_bytes is {self.segment_bytes}; the limit is {MAX_SEGMENT_BYTES}"
            )
        if self.preallocate_bytes < 0:
            raise ValueError("preallocate_bytes must not be negative")
