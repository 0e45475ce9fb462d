"""What one file holds: for programs, on the platter, and what a crash makes of the difference."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["SECTOR", "Inode"]

SECTOR = 512  # bytes that a disk writes whole or not at all


@dataclass(eq=False)
class Inode:
    """A file: what programs see, what the platter holds, and the changes between the two."""

    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    # (offset, bytes), or (length, None) for a change of length alone
    changes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.seen, offset, data)
        self.changes.append((offset, data))

    def sync(self) -> None:
        for offset, data in self.changes:
            _apply(self.durable, offset, data)
        self.changes.clear()

    def crash(self, rng: random.Random) -> None:
        """Keep of the unsynced changes what the seed says."""
        how = rng.choice(("all", "none", "prefix", "sectors", "sectors"))
        if how == "prefix":
            keep = rng.randint(0, sum(len(data) for _, data in self.changes if data))
            for offset, data in self.changes:
                _apply(self.durable, offset, data if data is None else data[:keep])
                keep = max(0, keep - len(data or b""))
        elif how == "sectors":
            for offset, data in self.changes:
                _apply_sectors(self.durable, offset, data, rng)
        elif how == "all":
            self.sync()
        self.changes.clear()
        self.seen = bytearray(self.durable)


def _apply(contents: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del contents[offset:]
        contents.extend(bytes(offset - len(contents)))
    elif data:
        contents.extend(bytes(max(0, offset - len(contents))))
        contents[offset : offset + len(data)] = data


def _apply_sectors(
    contents: bytearray, offset: int, data: bytes | None, rng: random.Random
) -> None:
    if data is None:
        if rng.random() < 0.5:
            _apply(contents, offset, None)
        return
    end = offset + len(data)
    size = len(contents)
    if end > size and rng.random() < 0.5:
        # The file's length went to disk before its bytes did.
        filler = rng.randbytes(end - size) if rng.random() < 0.2 else bytes(end - size)
        contents.extend(filler)
    start = offset
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if rng.random() < 0.5:
            _apply(contents, start, data[start - offset : stop - offset])
        start = stop
