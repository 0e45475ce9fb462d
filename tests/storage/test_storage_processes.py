"""Real processes on real files: killed in the middle of their work, and out of space."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from storage_kit import GROUP, SteppedWriter, entries

from trioraft.raft.types import HardState
from trioraft.storage import DataDirectory, OsFileSystem

WRITER = """
import resource, sys, trio
from trioraft.raft.types import Entry, EntryKind, HardState
from trioraft.storage import DataDirectory, PersistBatch, StorageSettings, open_disk_writer

async def main(path, limit, group):
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="c")
        settings = StorageSettings(segment_bytes=200_000)
        storage = await directory.open_group(bytes.fromhex(group), writer, settings)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        last = storage.recovered.last_index
        slots = trio.Semaphore(50)
        while True:
            await slots.acquire()
            last += 1

            def done(error, last=last):
                slots.release()
                print(last if error is None else f"{type(error).__name__}: {error}", flush=True)

            batch = [Entry(1, last, EntryKind.WRITE, b"x" * 500)]
            storage.persist(PersistBatch(HardState(1, "n1"), batch), done)

trio.run(main, sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""


def start(path: Path, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(limit), GROUP.hex()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def check(path: Path, acknowledged: int) -> int:
    """Everything up to `acknowledged` is there; returns the last index."""
    directory = DataDirectory.open(path, node_id="n1", cluster="c")
    storage = await directory.open_group(GROUP, SteppedWriter())
    found = storage.recovered
    assert found.last_index >= acknowledged
    if found.last_index >= 0:
        assert found.hard_state == HardState(1, "n1")
        log = await storage.read(0, found.last_index + 1, 1 << 40)
        assert log == entries(0, found.last_index + 1, size=500)
    storage._files.close()
    directory._open_groups.clear()
    directory.close()
    return found.last_index


async def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    rng = random.Random(5)
    last = -1
    for _ in range(4):
        process = start(tmp_path / "data")
        assert process.stdout is not None
        assert process.stdout.readline()  # it has started
        await trio.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        output, errors = process.communicate(timeout=60)
        assert not errors
        lines = output.rpartition("\n")[0].split("\n")  # the last line may be cut
        found = await check(tmp_path / "data", max(last, int(lines[-1] or -1)))
        assert found > last
        last = found


async def test_a_file_that_cannot_grow_stops_the_log_and_keeps_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    """A size limit makes the kernel write the first part and refuse the rest."""
    process = start(tmp_path / "data", limit=100_001)
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "stopped earlier" in errors
    lines = output.splitlines()
    good = [line for line in lines if line.isdigit()]
    assert good == [str(index) for index in range(len(good))]
    assert len(good) > 100
    assert lines[len(good)].startswith("StorageError: ")
    assert "cannot write" in lines[len(good)]
    assert "File too large" in lines[len(good)]
    last = await check(tmp_path / "data", len(good) - 1)
    assert last < 200


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_reading_past_the_end_of_a_file_returns_what_is_there(tmp_path: Path, size: int) -> None:
    file = OsFileSystem().open(str(tmp_path / "f"), create=True)
    file.write(bytes(size), 0)
    assert file.read(10_000, 0) == bytes(size)
    assert file.read(10, size) == b""
    file.truncate(0)
    assert file.size() == 0
    file.close()
    file.close()
