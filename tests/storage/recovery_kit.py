"""What the tests of recovery share: a disk that was written to, and looked at by its records."""

from __future__ import annotations

from collections.abc import Iterator

from storage_kit import (
    GROUP,
    Answers,
    SteppedWriter,
    open_on,
    segment_path,
)

from trioraft.storage import FileStorage, PersistBatch
from trioraft.storage.log.record import record_at, salt_of
from trioraft.testing.disk import SimDisk

BIG = 1 << 30


async def opened(disk: SimDisk) -> FileStorage:
    return await open_on(disk, SteppedWriter())


async def written(*groups: list[PersistBatch], close: bool = False, **bounds: int) -> SimDisk:
    """A disk with a log of these batches, each inner list being one group commit."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, **bounds)
    answers = Answers()
    for group in groups:
        for batch in group:
            storage.persist(batch, answers)
        writer.step()
    assert answers == [None] * sum(len(group) for group in groups)
    if close:
        # What `aclose` does, without waiting for an event loop.
        storage._files.close()
    return disk


def records(disk: SimDisk, number: int = 1) -> Iterator[tuple[int, int, int]]:
    """(offset, type, end) of each record of a file."""
    data, salt = disk.contents(segment_path(number)), salt_of(GROUP, number)
    offset = 0
    while offset < len(data):
        kind, _, end = record_at(data, offset, salt, offset)
        yield offset, kind, end
        offset = end


def shortened(disk: SimDisk, size: int) -> None:
    file = disk.open(segment_path())
    file.truncate(size)
    file.datasync()
