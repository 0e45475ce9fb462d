"""Many groups on one disk: few open files, little reserved space."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from storage_kit import Answers, SteppedWriter, entries, persist
from storage_kit import open_on as open_alone

from trioraft.raft.errors import StorageError
from trioraft.storage import (
    DataDirectory,
    FsyncPolicy,
    PersistBatch,
    StorageSettings,
    open_disk_writer,
)
from trioraft.storage.handles import HandleCache
from trioraft.testing.disk import SimDisk


class Holder:
    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self._name = name

    def rest(self) -> None:
        self._log.append(self._name)


def test_the_least_recently_used_rests_first() -> None:
    log: list[str] = []
    cache = HandleCache(2)
    a, b, c = (Holder(log, name) for name in "abc")
    for holder in (a, b, a, c):
        cache.used(holder)
    assert (log, len(cache)) == (["b"], 2)
    cache.forget(a)
    cache.used(b)
    assert (log, len(cache)) == (["b"], 2)
    with pytest.raises(ValueError, match="at least 1"):
        HandleCache(0)


def open_files(path: Path) -> int:
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(
        os.path.realpath(link).startswith(str(path / "groups"))
        for link in links
        if os.path.lexists(link)
    )


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's /proc")
async def test_idle_groups_hold_no_descriptors_and_busy_ones_a_bounded_number(
    tmp_path: Path,
) -> None:
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(tmp_path, node_id="n1", cluster="c", open_files=5)
        groups = [await directory.open_group(b"%d" % n, writer) for n in range(20)]
        assert open_files(tmp_path) == 0
        for round_ in range(3):
            for group in groups:
                await persist(group, entries(round_, round_ + 1))
            assert open_files(tmp_path) == 5
        for group in groups:
            await group.aclose()
        assert open_files(tmp_path) == 0
        again = [await directory.open_group(b"%d" % n, writer) for n in range(20)]
        assert all(group.recovered.tail == entries(0, 3) for group in again)
        for group in again:
            await group.aclose()
        directory.close()


@pytest.mark.parametrize("policy", ["always", "never"])
async def test_a_file_that_rests_is_durable_and_a_failure_reaches_its_own_group(
    policy: str,
) -> None:
    """One group commit that touches more groups than files may be open."""
    disk, writer = SimDisk(), SteppedWriter()
    directory = DataDirectory.open(
        "/data", node_id="n1", cluster="c", filesystem=disk, open_files=1
    )
    settings = StorageSettings(fsync=FsyncPolicy.parse(policy))
    first = await directory.open_group(b"\x01", writer, settings)
    second = await directory.open_group(b"\x02", writer, settings)
    answers, others = Answers(), Answers()
    disk.fail("datasync", errno.EIO, path="/data/groups/01")
    first.persist(PersistBatch(entries=entries(0, 1)), answers)
    second.persist(PersistBatch(entries=entries(0, 1)), others)
    writer.step()
    assert others == [None]
    assert [type(answer) for answer in answers] == [StorageError]
    second.persist(PersistBatch(entries=entries(1, 2)), others)
    writer.step()
    assert others == [None, None]
    with pytest.raises(StorageError, match="stopped earlier"):
        first.persist(PersistBatch(entries=entries(1, 2)), answers)


async def test_a_small_log_reserves_little_and_a_large_one_what_is_set() -> None:
    disk, writer = SimDisk(), SteppedWriter()
    reserved: list[int] = []
    storage = await open_alone(disk, writer, preallocate_bytes=1 << 20)
    files = storage._files
    for index in range(40):
        storage.persist(PersistBatch(entries=entries(index, index + 1, size=50_000)), Answers())
        writer.step()
        reserved.append(files._reserved - files._end)
    assert reserved[0] <= 50_000 + (16 << 10)
    assert max(reserved) <= 1 << 20
    assert reserved[-1] > 0
    idle = await open_alone(SimDisk(), writer)
    assert idle.size_on_disk() < 200
