"""Whose data directory it is, that one process uses it, and what is told to everybody else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from storage_kit import SteppedWriter, entries, persist, power_loss

from trioraft.raft.errors import CorruptionError, DataDirectoryError, StorageError
from trioraft.raft.types import NO_INDEX
from trioraft.storage import DataDirectory, StorageSettings, open_disk_writer
from trioraft.testing.disk import SimDisk


def opened(path: Path, node_id: str = "n1", cluster: str = "c") -> DataDirectory:
    return DataDirectory.open(path, node_id=node_id, cluster=cluster)


def test_a_new_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    directory = opened(tmp_path / "a" / "b")
    assert directory.groups() == []
    assert sorted(os.listdir(tmp_path / "a" / "b")) == [
        "groups",
        "lock",
        "node.json",
        "registered",
    ]
    directory.close()
    opened(tmp_path / "a" / "b").close()


def test_an_empty_directory_or_fresh_file_system_becomes_ours(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    opened(tmp_path).close()


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataDirectoryError, match=r"not a trioraft data directory.*thesis\.tex"):
        opened(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="cannot open the data directory"):
        opened(tmp_path / "data")


@pytest.mark.parametrize(("node_id", "cluster"), [("n2", "c"), ("n1", "other")])
def test_another_node_or_cluster_is_named(tmp_path: Path, node_id: str, cluster: str) -> None:
    opened(tmp_path).close()
    with pytest.raises(DataDirectoryError) as caught:
        opened(tmp_path, node_id, cluster)
    for name in ("'n1'", "'c'", repr(node_id), repr(cluster)):
        assert name in str(caught.value)
    opened(tmp_path).close()


@pytest.mark.parametrize("contents", ["", "{}", "[]", "\0\0\0", '{"format": 2}'])
def test_a_damaged_identity_is_corruption(tmp_path: Path, contents: str) -> None:
    opened(tmp_path).close()
    (tmp_path / "node.json").write_text(contents)
    with pytest.raises(CorruptionError, match=r"node\.json"):
        opened(tmp_path)


def test_a_newer_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text('{"format": 3, "node_id": "n1", "cluster": "c"}')
    with pytest.raises(DataDirectoryError, match="format 3; this version of trioraft reads 2"):
        opened(tmp_path)


def test_a_second_opening_names_the_process_that_has_it(tmp_path: Path) -> None:
    first = opened(tmp_path)
    script = (
        "import sys; from trioraft.storage import DataDirectory\n"
        "DataDirectory.open(sys.argv[1], node_id='n1', cluster='c')"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    other = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert other.returncode != 0
    assert f"DataDirectoryError: {tmp_path}/lock is held by another process" in other.stderr
    assert f"pid {os.getpid()}" in other.stderr
    first.close()
    other = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert other.returncode == 0, other.stderr


async def test_groups_are_kept_apart(tmp_path: Path) -> None:
    async with open_disk_writer() as writer:
        directory = opened(tmp_path)
        for group, count in ((b"\xff", 3), (b"a", 5)):
            storage = await directory.open_group(group, writer)
            await persist(storage, entries(0, count))
            with pytest.raises(DataDirectoryError, match="already open"):
                await directory.open_group(group, writer)
            with pytest.raises(StorageError, match="close these groups first"):
                directory.close()
            await storage.aclose()
        assert directory.groups() == [b"a", b"\xff"]
        storage = await directory.open_group(b"\xff", writer)
        assert storage.recovered.last_index == 2
        await storage.aclose()
        directory.close()


async def test_a_group_that_is_being_deleted_is_not_opened(tmp_path: Path) -> None:
    class Waiting(SteppedWriter):
        """Disk work beside the queue waits until it may go on."""

        def __init__(self) -> None:
            super().__init__()
            self.free = trio.Event()

        async def run(self, function: Callable[..., Any], *args: Any) -> Any:
            await self.free.wait()
            return function(*args)

    async with open_disk_writer() as writer:
        directory, slow = opened(tmp_path), Waiting()
        storage = await directory.open_group(b"g", writer)
        await persist(storage, entries(0, 3))
        await storage.aclose()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(directory.delete_group, b"g", slow)
            await trio.testing.wait_all_tasks_blocked()
            for call in (directory.open_group, directory.delete_group):
                with pytest.raises(DataDirectoryError, match="being deleted"):
                    await call(b"g", writer)
            with pytest.raises(StorageError, match="close these groups first"):
                directory.close()
            slow.free.set()
        storage = await directory.open_group(b"g", writer)
        assert storage.recovered.last_index == NO_INDEX
        await storage.aclose()
        directory.close()


async def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    directory, writer = opened(tmp_path), SteppedWriter()
    for group in (b"", bytes(65)):
        with pytest.raises(ValueError, match="1 to 64 bytes"):
            await directory.open_group(group, writer)
    with pytest.raises(ValueError, match="at least 1"):
        StorageSettings(segment_bytes=0)
    with pytest.raises(ValueError, match="the limit is 1073741824"):
        StorageSettings(segment_bytes=(1 << 30) + 1)
    with pytest.raises(ValueError, match="negative"):
        StorageSettings(preallocate_bytes=-1)
    directory.close()


async def test_a_group_that_cannot_be_opened_can_be_tried_again(tmp_path: Path) -> None:
    async with open_disk_writer() as writer:
        directory = opened(tmp_path)
        await (await directory.open_group(b"g", writer)).aclose()
        log = next((tmp_path / "groups" / b"g".hex()).iterdir())
        contents = log.read_bytes()
        log.write_bytes(b"rubbish")
        for _ in range(2):
            with pytest.raises(CorruptionError):
                await directory.open_group(b"g", writer)
        log.write_bytes(contents)
        await (await directory.open_group(b"g", writer)).aclose()
        directory.close()


def test_a_strange_name_among_the_groups_is_named(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    (tmp_path / "groups" / "backup").mkdir()
    with pytest.raises(DataDirectoryError, match="not ours"):
        directory.groups()
    directory.close()


@pytest.mark.parametrize("seed", range(40))
def test_power_loss_while_it_is_made_leaves_nothing_in_the_way(seed: int) -> None:
    disk = SimDisk()
    disk.fail("*", 5, after=seed % 10)
    with contextlib.suppress(StorageError):
        DataDirectory.open("/data", node_id="n1", cluster="c", filesystem=disk)
    disk.heal()
    power_loss(disk, seed)
    directory = DataDirectory.open("/data", node_id="n1", cluster="c", filesystem=disk)
    with pytest.raises(DataDirectoryError):
        DataDirectory.open("/data", node_id="n1", cluster="c", filesystem=disk)
    directory.close()
    DataDirectory.open("/data", node_id="n1", cluster="c", filesystem=disk).close()
