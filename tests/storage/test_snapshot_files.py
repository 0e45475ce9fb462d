"""Several files per snapshot, and the container that holds them on the disk."""

from __future__ import annotations

from array import array
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_kit import FOLDER, SteppedWriter, Twin, entries, meta, open_on, take_snapshot

from trioraft.raft.errors import CorruptionError, StorageError
from trioraft.raft.types import SnapshotFile
from trioraft.storage import PersistBatch
from trioraft.storage.snapshots.container import (
    BLOCK_BYTES,
    MAGIC,
    MAX_FILES,
    check_file_name,
    describe_file,
    encode_end,
    file_checksum,
    read_contents,
    with_files,
)
from trioraft.testing.disk import SimDisk

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


async def test_files_come_back_by_name_and_in_order(twin: Twin) -> None:
    wanted = {"b": b"second" * 40, "a.idx": b"", "_x": bytes(range(256)) * 5000}
    async with twin.storage.create_snapshot() as writer:
        for name, data in wanted.items():
            await writer.create_file(name)
            for start in range(0, len(data), 70_001):
                await writer.write(data[start : start + 70_001])
        taken = await writer.commit(meta(7))
    assert taken.files == tuple(describe_file(name, data) for name, data in wanted.items())
    assert taken.size == sum(map(len, wanted.values()))
    async with twin.storage.open_snapshot() as reader:
        assert reader.meta.files == taken.files
        assert await reader.read() == wanted["b"]
        for name, data in reversed(wanted.items()):
            for offset in (0, len(data) // 3, len(data)):
                await reader.open_file(name, offset)
                got = b""
                while piece := await reader.read(99_999):
                    assert len(piece) <= 99_999
                    got += piece
                assert got == data[offset:]
        with pytest.raises(KeyError):
            await reader.open_file("c")
        with pytest.raises(ValueError, match="no byte 241"):
            await reader.open_file("b", 241)


async def test_a_writer_that_names_no_file_writes_one(twin: Twin) -> None:
    await take_snapshot(twin.storage, 3, b"data")
    async with twin.storage.open_snapshot() as reader:
        assert reader.meta.files == (describe_file("state", b"data"),)


async def test_bad_file_names_are_refused(twin: Twin) -> None:
    async with twin.storage.create_snapshot() as writer:
        await writer.create_file("a")
        for name in ("a", "", "../a", "a/b", ".a", "-a", "a\0", "a" * 129, "ä", "a\n"):
            with pytest.raises(ValueError, match=r"name a file|two files"):
                await writer.create_file(name)
        assert writer.position == (0, 0)
        await writer.write(b"x")
        await writer.create_file("b")
        assert writer.position == (1, 0)


async def test_files_are_counted(twin: Twin) -> None:
    async with twin.storage.create_snapshot() as writer:
        for number in range(MAX_FILES):
            await writer.create_file(str(number))
        with pytest.raises(ValueError, match="more than 1024"):
            await writer.create_file("more")


async def test_a_discarded_writer_is_closed_and_leaves_nothing(twin: Twin) -> None:
    async with twin.storage.create_snapshot() as writer:
        await writer.write(b"x")
        await writer.discard()
        await writer.discard()
        with pytest.raises(StorageError):
            await writer.commit(meta(1))
    assert (await twin.reopen()).recovered.snapshot is None


async def test_damage_names_the_file_within_and_its_offset() -> None:
    disk = SimDisk()
    storage = await open_on(disk, SteppedWriter())
    async with storage.create_snapshot() as writer:
        await writer.create_file("first")
        await writer.write(b"x" * 10)
        await writer.create_file("second")
        await writer.write(b"y" * (BLOCK_BYTES + 10))
        await writer.commit(meta(5))
    (name,) = (n for n in disk.list_directory(FOLDER) if n.endswith(".snapshot"))
    offset = len(MAGIC) + 10 + BLOCK_BYTES
    disk.corrupt(f"{FOLDER}/{name}", offset + 3, b"Y")
    async with storage.open_snapshot() as reader:
        await reader.open_file("second")
        assert len(await reader.read(BLOCK_BYTES)) == BLOCK_BYTES
        with pytest.raises(CorruptionError, match=f"'second' from its byte {BLOCK_BYTES} on") as e:
            await reader.read()
        assert e.value.offset == offset
        await reader.open_file("first")
        assert await reader.read() == b"x" * 10


async def test_a_damaged_newest_is_refused_and_a_whole_older_one_named() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    storage = await open_on(disk, writer)
    storage.persist(PersistBatch(entries=entries(0, 9)), lambda error: None)
    writer.drain()
    await take_snapshot(storage, 3, b"old")
    async with storage.open_snapshot():
        await take_snapshot(storage, 5, b"new")
        old, new = (n for n in disk.list_directory(FOLDER) if n.endswith(".snapshot"))
        disk.corrupt(f"{FOLDER}/{new}", 30, b"\0\0\0")
        with pytest.raises(CorruptionError, match="snapshot of entry 3 beside it is whole") as e:
            await open_on(disk, SteppedWriter())
        assert e.value.file == f"{FOLDER}/{new}"
        disk.corrupt(f"{FOLDER}/{old}", 30, b"\0\0\0")
        with pytest.raises(CorruptionError) as e:
            await open_on(disk, SteppedWriter())
        assert "whole" not in str(e.value)
        assert e.value.file == f"{FOLDER}/{new}"


@given(files=st.dictionaries(NAMES, st.binary(max_size=300), max_size=6), junk=st.binary())
def test_the_container_comes_back(files: dict[str, bytes], junk: bytes) -> None:
    disk = SimDisk()
    file = disk.open("/c", create=True)
    described = [describe_file(name, data) for name, data in files.items()]
    checksums = array("I", [crc32(data) for data in files.values() if data])
    wanted = with_files(meta(9), described)
    contents = MAGIC + b"".join(files.values()) + encode_end(wanted, checksums)
    file.write(contents, 0)
    found = read_contents(file, "/c")
    assert (found.meta, found.meta.files) == (wanted, tuple(described))
    assert list(found.checksums) == list(checksums)
    for damaged in (contents[:-1], contents + b"\0", contents[: len(contents) // 2], junk):
        other = disk.open("/d", create=True)
        other.write(damaged, 0)
        with pytest.raises(CorruptionError):
            read_contents(other, "/d")


@given(st.lists(st.tuples(st.text(max_size=6), st.integers(-5, 5), st.integers(0, 9)), max_size=3))
def test_a_lying_description_is_corruption(files: list[tuple[str, int, int]]) -> None:
    """Its checksums are right: whoever wrote it lied about the files."""
    honest = all(size == 0 and crc == file_checksum(()) for _, size, crc in files)
    names = {name for name, _, _ in files}
    if honest and len(names) == len(files):
        return
    disk = SimDisk()
    file = disk.open("/c", create=True)
    told = with_files(meta(9), [SnapshotFile(*f) for f in files])
    if told.size < 0:
        return
    file.write(MAGIC + bytes(told.size) + encode_end(told, ()), 0)
    with pytest.raises(CorruptionError):
        read_contents(file, "/c")


@given(NAMES)
def test_good_names_pass(name: str) -> None:
    assert check_file_name(name) == name
