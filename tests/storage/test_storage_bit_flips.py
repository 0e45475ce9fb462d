"""Every bit of every file of a small log, turned over one at a time.

Whatever the kind of record and the field, a start either refuses and names file and offset,
or finds a state that was once written: never wrong data. After a clean stop every single bit is
vouched for. After a kill, only what the last group commit wrote can be taken for a torn tail.
"""

from __future__ import annotations

import pytest
from storage_kit import (
    FOLDER,
    GROUP,
    Answers,
    SteppedWriter,
    entries,
    meta,
    open_on,
    take_snapshot,
)

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage import PersistBatch, RecoveredState
from trioraft.storage.log.record import RecordType, record_at, salt_of
from trioraft.testing.disk import SimDisk

SESSIONS = [
    Entry(5, 4, EntryKind.WRITE, b"abc", Session(b"client", 7)),
    Entry(5, 5, EntryKind.METADATA, b"", None),
    Entry(5, 6, EntryKind.BLANK, b"", Session(b"", -3)),
]
LAST = PersistBatch(HardState(6, "n3"), [Entry(6, 22, EntryKind.WRITE, b"last")])


async def small_log(*, close: bool) -> tuple[SimDisk, RecoveredState, RecoveredState]:
    """A log of every kind of record; what it recovers to, and without its last group commit."""
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer, segment_bytes=420)
    batches = [
        PersistBatch(HardState(1, "n1"), entries(0, 4)),
        PersistBatch(HardState(5, None), SESSIONS),
        PersistBatch(None, entries(3, 6, term=5)),  # a CUT
        PersistBatch(HardState(5, "n2"), entries(6, 8, term=5)),  # rolls
        "reset",
        PersistBatch(None, entries(21, 22, term=5)),
        LAST,
    ]
    before = RecoveredState()
    for batch in batches:
        if batch == "reset":
            await take_snapshot(storage, 20, b"state", term=5)
            batch = PersistBatch(reset=meta(20, 5))
        assert isinstance(batch, PersistBatch)
        if batch is LAST:
            copy = SimDisk()
            copy.make_directory(FOLDER)
            for name in disk.list_directory(FOLDER):
                path = f"{FOLDER}/{name}"
                copy.open(path, create=True).write(disk.contents(path), 0)
            before = (await open_on(copy, SteppedWriter())).recovered
        answers = Answers()
        storage.persist(batch, answers)
        del writer.jobs[1:]  # what a RESET makes useless stays: every kind of record is there
        writer.step()
        assert answers == [None]
    if close:
        storage._files.close()
    return disk, (await open_on(disk, SteppedWriter())).recovered, before


def key(found: RecoveredState) -> tuple[object, ...]:
    return (found.hard_state, found.base_index, found.base_term, found.last_index, found.tail)


def kinds(disk: SimDisk) -> dict[int, int]:
    """How many records of each type all files have."""
    count: dict[int, int] = {}
    for path in logs(disk):
        data, offset = disk.contents(path), 0
        salt = salt_of(GROUP, int(path[-20:-4]))
        while offset < len(data):
            kind, _, offset = record_at(data, offset, salt, offset)
            count[kind] = count.get(kind, 0) + 1
    return count


def logs(disk: SimDisk) -> list[str]:
    return [f"{FOLDER}/{name}" for name in disk.list_directory(FOLDER) if name.endswith(".log")]


async def test_the_small_log_has_every_kind_of_record() -> None:
    disk, found, before = await small_log(close=True)
    assert sorted(kinds(disk)) == sorted(RecordType)
    assert found.hard_state == HardState(6, "n3")
    assert [entry.index for entry in found.tail] == [21, 22]
    assert before.hard_state == HardState(5, "n2")


@pytest.mark.parametrize("close", [True, False])
async def test_every_single_bit(close: bool) -> None:
    disk, whole, before = await small_log(close=close)
    refused = cut = harmless = 0
    contents = {path: disk.contents(path) for path in logs(disk)}
    newest = logs(disk)[-1]
    named: CorruptionError | None
    for path, data in contents.items():
        for position in range(len(data)):
            for bit in range(8):
                disk.corrupt(path, position, bytes([data[position] ^ (1 << bit)]))
                try:
                    found = (await open_on(disk, SteppedWriter())).recovered
                except CorruptionError as error:
                    named, refused = error, refused + 1
                else:
                    # Only what nothing vouches for can be lost, and what is left was written.
                    assert path == newest
                    assert found.base_index == whole.base_index
                    assert found.tail == whole.tail[: len(found.tail)]
                    assert len(found.tail) >= len(before.tail)
                    assert found.hard_state in (whole.hard_state, before.hard_state)
                    if close:
                        assert key(found) == key(whole)  # the mark of the clean stop itself
                        harmless += 1
                    else:
                        cut += key(found) != key(whole)
                    named = None
                assert named is None or (named.file == path and named.offset <= position)
                for other, honest in contents.items():
                    file = disk.open(other)
                    file.truncate(0)
                    file.write(honest, 0)
                    file.datasync()
    assert key((await open_on(disk, SteppedWriter())).recovered) == key(whole)
    assert refused > 8 * sum(map(len, contents.values())) * 0.7
    assert (cut > 0) == (not close)
    assert (harmless > 0) == close


@pytest.mark.parametrize("swap", ["offset", "file", "length"])
async def test_a_write_that_went_astray_or_never_happened(swap: str) -> None:
    """Misdirected: good records in another place or file. Lost: the place keeps its old bytes."""
    disk, _, _ = await small_log(close=True)
    first, second = logs(disk)[:2]
    data = disk.contents(first)
    if swap == "offset":
        disk.corrupt(first, 200, data[100:180])
    elif swap == "file":
        disk.corrupt(first, 100, disk.contents(second)[100:180])
    else:
        disk.corrupt(first, 150, bytes(80))
    with pytest.raises(CorruptionError) as caught:
        await open_on(disk, SteppedWriter())
    assert caught.value.file == first
