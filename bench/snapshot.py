"""What snapshots cost: the pause of the state machine, and the speed of a transfer.

    python bench/snapshot.py                    both
    python bench/snapshot.py --keys 1000000     how long nothing is applied while one is taken
    python bench/snapshot.py --mib 1024         a transfer over loopback between two processes

The transfer is the real one from file to file: read and checked, sent by SnapshotService over TCP,
checked, spooled, synced and published. `--json FILE` writes the figures there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag
from trioraft.node import RuntimeSettings
from trioraft.node.machine import Command
from trioraft.node.peers import Resume, SnapshotChunk
from trioraft.node.snapshots.sender import ReaderChunks
from trioraft.protocols.local.snapshots import SnapshotService, SnapshotTransport
from trioraft.raft.messages import SnapshotReply, SnapshotRequest
from trioraft.raft.types import Configuration, Member, SnapshotMeta
from trioraft.rpc import open_channel, serve
from trioraft.storage import FileStorage, open_disk_writer

GROUP = bytes(16)
MIB = 1 << 20


@asynccontextmanager
async def storage(folder: str) -> AsyncIterator[FileStorage]:
    async with open_disk_writer() as writer:
        opened = await FileStorage.open(folder, GROUP, writer)
        try:
            yield opened
        finally:
            await opened.aclose()


class Follower:
    """A group that installs whatever arrives, as `node.snapshots.receiver` does it."""

    node_id = "n2"

    def __init__(self, opened: FileStorage) -> None:
        self._storage = opened

    def find(self, group_id: bytes) -> Any:
        return self

    async def handle_snapshot(
        self,
        request: SnapshotRequest,
        chunks: AsyncIterator[SnapshotChunk],
        resume: Resume,
    ) -> SnapshotReply:
        async with self._storage.create_snapshot() as writer:
            await resume(0, 0)
            file = None
            async for chunk in chunks:
                if chunk.file != file:
                    file = chunk.file
                    await writer.create_file(file)
                await writer.write(chunk.data)
            meta = await writer.commit(request.meta)
        assert meta.files == request.meta.files
        return SnapshotReply(request.term, self.node_id, True, meta.index)


async def follow(folder: str) -> None:
    """The receiving process: says where it listens, then serves until it is killed."""
    async with storage(folder) as opened, trio.open_nursery() as nursery:
        service: Any = SnapshotService(Follower(opened))  # type: ignore[arg-type]
        (address,) = await nursery.start(
            lambda task_status: serve([service], host="127.0.0.1", port=0, task_status=task_status)
        )
        print(f"{address[0]}:{address[1]}", flush=True)


async def transfer(mib: int, folder: str) -> dict[str, float]:
    """Write a snapshot of `mib` MiB and send it to another process, three times."""
    os.makedirs(f"{folder}/leader")
    os.makedirs(f"{folder}/follower")
    command = [sys.executable, __file__, "--follow", f"{folder}/follower"]
    rates, cpu = [], []
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        )
        try:
            assert process.stdout is not None
            address = (await process.stdout.receive_some()).decode().strip()
            async with storage(f"{folder}/leader") as opened, open_channel(address) as channel:
                data = os.urandom(MIB)
                begun = time.perf_counter()
                async with opened.create_snapshot() as writer:
                    for _ in range(mib):
                        await writer.write(data)
                    await writer.commit(SnapshotMeta(1, 1, Configuration((Member("n1", "a"),))))
                written = mib * MIB / (time.perf_counter() - begun)
                inner: Any = Unused()
                transport = SnapshotTransport(inner, channel, GROUP, Member("n2", address))
                for term in range(2, 5):
                    begun, cpu_begun = time.perf_counter(), time.process_time()
                    async with opened.open_snapshot() as reader:
                        request = SnapshotRequest(term, "n1", reader.meta)
                        chunks = ReaderChunks(reader, RuntimeSettings().snapshot_chunk_bytes)
                        assert (await transport.send_snapshot(request, chunks)).success
                    rates.append(mib * MIB / (time.perf_counter() - begun))
                    cpu.append(time.process_time() - cpu_begun)
        finally:
            process.kill()
    receiver = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "write": written,
        "transfer": sorted(rates)[1],
        "best": max(rates),
        "sender": mib * MIB / min(cpu),
        "receiver": len(rates) * mib * MIB / (receiver.ru_utime + receiver.ru_stime),
    }


class Unused:
    """Stands for the dialect; a trioraft peer gets nothing from it."""

    request_vote = send_snapshot = open_append_stream = start_election = None


class Discard:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        await trio.lowlevel.checkpoint()

    async def create_file(self, name: str) -> None:
        await trio.lowlevel.checkpoint()


async def pause(keys: int) -> dict[str, float]:
    """The longest time for which a captured store's writing keeps everything else waiting.

    In time on the processor, so that other programs do not count. The garbage collector does.
    """
    machine = KvMachine()
    for low in range(0, keys, 10_000):
        await machine.apply([put(number) for number in range(low, min(keys, low + 10_000))])
    begun = time.perf_counter()
    capture = machine.capture()
    captured = time.perf_counter() - begun
    sink, gaps = Discard(), [0.0]

    async def watch() -> None:
        last = time.thread_time()
        while True:
            await trio.lowlevel.checkpoint()
            now = time.thread_time()
            gaps.append(now - last)
            last = now

    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await capture.write(sink)
        nursery.cancel_scope.cancel()
    capture.close()
    gaps.sort()
    return {
        "keys": keys,
        "bytes": sink.size,
        "seconds": time.perf_counter() - begun,
        "capture": captured,
        "longest": gaps[-1],
        "p999": gaps[int(len(gaps) * 0.999)],
    }


def put(number: int) -> Command:
    request = rpc_pb2.PutRequest(key=b"%010d" % number, value=b"v" * 64)
    return Command(number, 1, Tag.PUT.encode(request.SerializeToString()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int)
    parser.add_argument("--mib", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        trio.run(follow, options.follow)
        return
    both = options.keys is None and options.mib is None
    results: dict[str, Any] = {}
    if both or options.keys:
        found = results["pause"] = trio.run(pause, options.keys or 1_000_000)
        print(
            f"{found['keys']} keys, {found['bytes'] / 1e6:.0f} MB: captured in "
            f"{found['capture'] * 1e3:.2f} ms, written in {found['seconds']:.1f} s, "
            f"longest pause {found['longest'] * 1e3:.1f} ms (p99.9 {found['p999'] * 1e3:.1f} ms)"
        )
    if both or options.mib:
        with tempfile.TemporaryDirectory() as folder:
            found = results["transfer"] = trio.run(transfer, options.mib or 512, folder)
        print(
            f"written with {found['write'] / 1e6:.0f} MB/s, transferred with "
            f"{found['transfer'] / 1e6:.0f} MB/s (best {found['best'] / 1e6:.0f}), "
            f"per second of processor the sender does {found['sender'] / 1e6:.0f} MB, "
            f"the receiver {found['receiver'] / 1e6:.0f} MB"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
