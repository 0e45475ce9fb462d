"""Snapshots of storage in files and of its twin in memory: the same promises."""

from __future__ import annotations

import pytest
import trio
from storage_kit import (
    MEMBERS,
    Twin,
    entries,
    meta,
    persist,
    read_snapshot,
    take_snapshot,
)

from trioraft.raft.errors import StorageError


async def test_snapshots_replace_each_other(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    with pytest.raises(StorageError):
        async with twin.storage.open_snapshot():
            pass
    await take_snapshot(twin.storage, 3, b"three" * 1000)
    await take_snapshot(twin.storage, 5, b"five" * 500_000)
    assert await read_snapshot(twin.storage, 300_001) == b"five" * 500_000
    assert await read_snapshot(await twin.reopen(), 300_001) == b"five" * 500_000
    found = twin.storage.recovered.snapshot
    assert found is not None
    assert found.size == 2_000_000
    assert (found.configuration, found.configuration_index) == (MEMBERS, 5)


async def test_an_uncommitted_snapshot_leaves_nothing(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    before = twin.storage.size_on_disk()
    async with twin.storage.create_snapshot() as writer:
        await writer.write(b"half" * 1_000_000)
    with trio.move_on_after(0) as scope:
        async with twin.storage.create_snapshot() as writer:
            await writer.write(b"half")
            await writer.commit(meta(3))
    assert scope.cancelled_caught
    assert twin.storage.size_on_disk() == before
    assert (await twin.reopen()).recovered.snapshot is None


async def test_a_late_snapshot_does_not_replace_a_newer_one(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    async with twin.storage.create_snapshot() as late:
        await late.write(b"late")
        await take_snapshot(twin.storage, 8, b"newer")
        assert (await late.commit(meta(5))).index == 8
    assert await read_snapshot(twin.storage) == b"newer"
    assert await read_snapshot(await twin.reopen()) == b"newer"


async def test_a_reader_keeps_its_snapshot_when_a_newer_one_comes(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    await take_snapshot(twin.storage, 3, b"older")
    async with twin.storage.open_snapshot() as reader:
        assert await reader.read(2) == b"ol"
        await take_snapshot(twin.storage, 5, b"newer")
        assert await read_snapshot(twin.storage) == b"newer"
        assert reader.meta.index == 3
        assert await reader.read() == b"der"
        assert await reader.read() == b""


async def test_an_empty_snapshot_is_one(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    await take_snapshot(twin.storage, 3, b"")
    assert await read_snapshot(twin.storage) == b""
    async with twin.storage.open_snapshot() as reader:
        with pytest.raises(ValueError, match="at least 1"):
            await reader.read(0)


async def test_a_snapshot_is_closed_after_its_commit(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    async with twin.storage.create_snapshot() as writer:
        with pytest.raises(ValueError, match="cannot stand at entry -1"):
            await writer.commit(meta(-1))
        await writer.commit(meta(3))
        with pytest.raises(StorageError):
            await writer.write(b"more")
