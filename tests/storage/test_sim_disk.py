"""The simulated disk itself: it must be as mean as promised, and the same for the same seed."""

from __future__ import annotations

import errno
import random

import pytest

from trioraft.testing.disk import SECTOR, SimDisk


def outcomes(disk_of: object, path: str = "/d/f") -> set[bytes | None]:
    """What is at `path` after a crash, over many seeds."""
    found: set[bytes | None] = set()
    for seed in range(200):
        disk = disk_of()  # type: ignore[operator]
        disk.crash(random.Random(seed))
        found.add(disk.contents(path) if disk.exists(path) else None)
    return found


def made(synced: bytes, then: bytes = b"", *, name_synced: bool = True) -> SimDisk:
    disk = SimDisk()
    disk.make_directory("/d")
    file = disk.open("/d/f", create=True)
    file.write(synced, 0)
    file.datasync()
    if name_synced:
        disk.sync_directory("/d")
    if then:
        file.write(then, len(synced))
    return disk


def test_what_was_synced_survives() -> None:
    assert outcomes(lambda: made(b"abc")) == {b"abc"}


def test_what_was_not_synced_is_kept_lost_or_torn() -> None:
    found = outcomes(lambda: made(b"a" * SECTOR, b"b" * 3 * SECTOR))
    full = b"a" * SECTOR + b"b" * 3 * SECTOR
    assert {full, full[:SECTOR]} < found
    assert all(contents is not None and contents[:SECTOR] == b"a" * SECTOR for contents in found)
    zeros = bytes(SECTOR)
    assert any(c and c[SECTOR : 2 * SECTOR] == zeros and c.endswith(b"b") for c in found)
    assert any(c and len(c) % SECTOR for c in found)
    assert any(c and set(c) - set(b"ab\0") for c in found)  # rubbish


def test_an_unsynced_name_may_be_lost() -> None:
    assert outcomes(lambda: made(b"abc", name_synced=False)) == {b"abc", None}


def test_an_unsynced_rename_leaves_one_or_the_other() -> None:
    def renamed() -> SimDisk:
        disk = made(b"old")
        file = disk.open("/d/g", create=True)
        file.write(b"new", 0)
        file.datasync()
        disk.rename("/d/g", "/d/f")
        return disk

    assert outcomes(renamed) == {b"old", b"new"}


def test_an_unsynced_unlink_may_come_back() -> None:
    def unlinked() -> SimDisk:
        disk = made(b"abc")
        disk.unlink("/d/f")
        assert not disk.exists("/d/f")
        return disk

    assert outcomes(unlinked) == {b"abc", None}


def test_an_unsynced_truncation_may_be_undone() -> None:
    def truncated() -> SimDisk:
        disk = made(b"abcdef")
        disk.open("/d/f").truncate(2)
        return disk

    assert outcomes(truncated) == {b"abcdef", b"ab"}


def test_the_same_seed_gives_the_same_disk() -> None:
    for seed in range(20):
        disks = [made(b"a" * 700, b"b" * 5000) for _ in range(2)]
        for disk in disks:
            disk.crash(random.Random(seed))
        assert disks[0].contents("/d/f") == disks[1].contents("/d/f")


def test_a_failed_sync_forgets_the_changes_as_linux_does() -> None:
    disk = made(b"abc", b"def")
    disk.fail("datasync", errno.EIO, times=1)
    file = disk.open("/d/f")
    with pytest.raises(OSError, match="Input/output error"):
        file.datasync()
    file.datasync()  # succeeds, and has written nothing
    assert disk.contents("/d/f") == b"abcdef"
    disk.crash(random.Random(0))
    assert disk.contents("/d/f") == b"abc"


def test_faults_count() -> None:
    disk = made(b"")
    file = disk.open("/d/f")
    disk.fail("write", errno.ENOSPC, path="f", after=1, times=1)
    file.write(b"12", 0)
    with pytest.raises(OSError, match="No space"):
        file.write(b"3456", 2)
    assert disk.contents("/d/f") == b"1234"  # half of it still fitted
    file.write(b"3456", 2)
    disk.fail("*", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.read(1, 0)
    disk.heal()
    assert file.read(9, 1) == b"23456"


def test_handles_and_locks_die_with_the_machine() -> None:
    disk = made(b"abc")
    file, lock = disk.open("/d/f"), disk.lock("/d/lock")
    disk.crash(random.Random(1))
    with pytest.raises(OSError, match="crashed"):
        file.write(b"ghost", 0)
    disk.lock("/d/lock")
    lock.release()
    assert "/d/lock" in disk.locks
    assert disk.contents("/d/f") == b"abc"


def test_missing_files_and_folders_are_errors() -> None:
    disk = made(b"")
    for attempt in (
        lambda: disk.open("/d/none"),
        lambda: disk.open("/none/f", create=True),
        lambda: disk.unlink("/d/none"),
        lambda: disk.rename("/d/none", "/d/f"),
        lambda: disk.list_directory("/none"),
        lambda: disk.lock("/none/lock"),
    ):
        with pytest.raises(FileNotFoundError):
            attempt()
    disk.make_directory("/d/sub/deep")
    assert disk.list_directory("/d") == ["f", "sub"]
