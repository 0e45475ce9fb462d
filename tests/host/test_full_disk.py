"""A disk that is really full: a small tmpfs under a log, and under a whole node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from trioraft.client import RetryPolicy, open_etcd
from trioraft.raft.errors import StorageError, TrioraftError
from trioraft.raft.types import Entry, EntryKind, HardState
from trioraft.rpc import GRPCError
from trioraft.storage import DataDirectory, FileStorage, PersistBatch, open_disk_writer

SIZE = 400 << 10  # bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a tmpfs needs root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def write(storage: FileStorage, entry: Entry) -> BaseException | None:
    done = trio.Event()
    answer: list[BaseException | None] = []

    def answered(error: BaseException | None) -> None:
        answer.append(error)
        done.set()

    storage.persist(PersistBatch(HardState(1, "n1"), [entry]), answered)
    await done.wait()
    return answer[0]


async def test_a_full_disk_stops_the_log_and_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    data = small_disk / "d"
    acknowledged = 0
    async with open_disk_writer() as writer:
        directory = DataDirectory.open(data, node_id="n1", cluster="c")
        storage = await directory.open_group(b"g", writer)
        ballast.write_bytes(bytes(SIZE // 2))
        while True:
            entry = Entry(1, acknowledged, EntryKind.WRITE, b"%d" % acknowledged * 1000)
            error = await write(storage, entry)
            if error is not None:
                break
            acknowledged += 1
        assert isinstance(error, StorageError)
        assert "the disk is full: make room, then restart this node" in str(error)
        assert 20 < acknowledged < 200
        ballast.unlink()  # there is room again, but nobody knows what the last write left
        with pytest.raises(StorageError, match="stopped earlier"):
            storage.persist(PersistBatch(None, [entry]), lambda _: None)
        await storage.aclose()
        again = await directory.open_group(b"g", writer)
        assert again.recovered.last_index >= acknowledged - 1
        assert again.recovered.hard_state == HardState(1, "n1")
        for index in range(acknowledged):
            assert again.recovered.tail[index].data == b"%d" % index * 1000
        last = again.recovered.last_index + 1
        assert await write(again, Entry(1, last, EntryKind.WRITE, b"more")) is None
        await again.aclose()
        directory.close()


async def test_a_node_on_a_full_disk_ends_with_a_message_and_comes_back(small_disk: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(SIZE // 2))
    command = [
        *(sys.executable, "-m", "trioraft", "node", "--id", "n1", "--listen", address),
        *("--peers", f"n1={address}", "--data", str(small_disk / "d")),
    ]
    node = start(command)
    written = await _put_until_it_fails(address)
    with trio.fail_after(20):
        _, errors = await trio.to_thread.run_sync(node.communicate)
    assert node.returncode == 1, errors
    assert "Error: " in errors
    assert "the disk is full: make room, then restart this node" in errors
    assert str(small_disk / "d") in errors
    ballast.unlink()
    node = start(command)
    try:
        async with open_etcd(address, policy=RetryPolicy(timeout=20)) as client:
            for number in range(written):
                (pair,) = (await client.get(b"%d" % number)).kvs
                assert pair.value == b"%d" % number * 2000
            await client.put(b"more", b"")
    finally:
        node.send_signal(signal.SIGTERM)
        await trio.to_thread.run_sync(node.communicate)


async def _put_until_it_fails(address: str) -> int:
    number = 0
    async with open_etcd(address, policy=RetryPolicy(timeout=10)) as client:
        await client.put(b"first", b"")
    try:
        async with open_etcd(address, policy=RetryPolicy(timeout=2)) as client:
            while True:
                await client.put(b"%d" % number, b"%d" % number * 2000)
                number += 1
    except (TrioraftError, GRPCError):
        assert number > 10
        return number
