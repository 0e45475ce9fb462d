"""`trioraft log` on whole, damaged, busy and foreign directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from trioraft.cli import main
from trioraft.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Member,
    Session,
    SnapshotMeta,
)
from trioraft.storage import DataDirectory, PersistBatch, StorageSettings, open_disk_writer

GROUP = b"\x01\x02"
SETTINGS = StorageSettings(segment_bytes=8000, preallocate_bytes=4096)


async def write(path: Path, *, close: bool = True) -> None:
    """120 entries over several files, a vote per term, one suffix replaced, a snapshot at 40."""
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(path, node_id="n1", cluster="c")
        storage = await directory.open_group(GROUP, writer, SETTINGS)
        for low in range(0, 120, 5):
            term = 1 + low // 50
            batch = [
                Entry(term, index, EntryKind.WRITE, b"x" * 150, Session(b"client", index))
                for index in range(low, low + 5)
            ]
            done = trio.Event()
            storage.persist(
                PersistBatch(HardState(term, "n1"), batch), lambda _, done=done: done.set()
            )
            await done.wait()
        async with storage.create_snapshot() as snapshot:
            await snapshot.write(b"state" * 100)
            members = Configuration((Member("n1", "127.0.0.1:1"),))
            await snapshot.commit(SnapshotMeta(40, 1, members))
        if close:
            await storage.aclose()
            directory.close()
        else:
            assert run("verify", path).exit_code == 0
            await storage.aclose()
            directory.close()


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await write(tmp_path / "d")
    return tmp_path / "d"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["log", *map(str, arguments)])


def logs(data: Path) -> list[Path]:
    return sorted((data / "groups" / GROUP.hex()).glob("*.log"))


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


async def test_inspect_shows_files_terms_votes_and_snapshots(data: Path) -> None:
    shown = run("inspect", data)
    assert shown.exit_code == 0
    assert f"group {GROUP.hex()} of node n1, cluster c" in shown.output
    for path in logs(data):
        assert path.name in shown.output
    for text in ("1 n1", "3 n1", "newest", "full", "00000000000000000040"):
        assert text in shown.output


async def test_inspect_as_json_counts_every_entry(data: Path) -> None:
    found = json.loads(run("inspect", data, "--json", "--entries").output)
    assert (found["node"], found["cluster"]) == ("n1", "c")
    (group,) = found["groups"]
    assert sum(segment["entries"] for segment in group["segments"]) == 120
    assert [segment["sealed"] for segment in group["segments"]] == [
        *[True] * (len(logs(data)) - 1),
        False,
    ]
    assert group["segments"][0]["first"] == 0
    assert group["segments"][-1]["last"] == 119
    assert [entry["index"] for entry in group["entries"]] == list(range(120))
    assert group["entries"][7]["session"] == [b"client".hex(), 7]
    assert group["entries"][7]["kind"] == "write"
    assert [snapshot["index"] for snapshot in group["snapshots"]] == [40]


async def test_inspect_lists_a_range_of_entries(data: Path) -> None:
    lines = run("inspect", data, "--entries", "--from", 49, "--to", 50).output.splitlines()
    listed = [line.split() for line in lines if " stored at " in line]
    assert [(line[0], line[2]) for line in listed] == [("49", "1"), ("50", "2")]


async def test_verify_of_a_whole_directory(data: Path) -> None:
    verified = run("verify", data)
    assert (verified.exit_code, verified.stdout) == (0, "1 group: no damage\n")


async def test_verify_names_every_damaged_file_and_place(data: Path) -> None:
    first, second = logs(data)[:2]
    flip(first, 4000)
    flip(second, 3000)
    snapshot = next((data / "groups" / GROUP.hex()).glob("*.snapshot"))
    flip(snapshot, 100)
    before = [path.read_bytes() for path in (first, second, snapshot)]
    verified = run("verify", data, "--json")
    assert verified.exit_code == 1
    damage = json.loads(verified.stdout)["damage"]
    assert {found["file"] for found in damage} == {str(first), str(second), str(snapshot)}
    assert all(found["offset"] <= 4000 for found in damage)
    assert before == [path.read_bytes() for path in (first, second, snapshot)]
    text = run("verify", data)
    assert text.exit_code == 1
    assert f"{first}: corrupt at offset" in text.stdout
    assert "3 damaged places" in text.stdout
    inspected = run("inspect", data)
    assert inspected.exit_code == 0
    assert "checksum mismatch" in " ".join(inspected.output.split())


@pytest.mark.parametrize("which", [1, 2, -1])  # a snapshot covers the first
async def test_verify_misses_no_lost_file(data: Path, which: int) -> None:
    logs(data)[which].unlink()
    verified = run("verify", data)
    assert verified.exit_code == 1
    assert "missing" in verified.stdout or "begins after" in verified.stdout


async def test_verify_misses_no_lost_group(data: Path) -> None:
    for path in (data / "groups" / GROUP.hex()).iterdir():
        path.unlink()
    assert run("verify", data).exit_code == 1
    (data / "groups" / GROUP.hex()).rmdir()
    lost = run("verify", data)
    assert lost.exit_code == 1
    assert "vote is lost" in lost.stdout


async def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    await write(tmp_path / "d")
    last = logs(tmp_path / "d")[-1]
    with last.open("ab") as file:
        file.write(b"half a rec")
    assert run("verify", tmp_path / "d").exit_code == 0
    assert "torn tail" in " ".join(run("inspect", tmp_path / "d").output.split())


async def test_a_directory_in_use_can_be_read(tmp_path: Path) -> None:
    await write(tmp_path / "d", close=False)


async def test_a_foreign_directory_and_an_unknown_group_are_named(
    tmp_path: Path, data: Path
) -> None:
    foreign = run("verify", tmp_path)
    assert foreign.exit_code == 1
    assert "not a data directory" in foreign.output
    unknown = run("inspect", data, "--group", "ff")
    assert unknown.exit_code == 1
    assert GROUP.hex() in unknown.output
