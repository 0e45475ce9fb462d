"""Snapshots of the KV machine: the same machine comes back, damage is found."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kv_requests import COMMAND_TAGS, RequestMaker

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag
from trioraft.machines.kv.snapshot import CHUNK_SIZE
from trioraft.node.machine import Command
from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import SnapshotFile


class Sink:
    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    async def write(self, data: bytes) -> None:
        self.chunks.append(data)

    async def create_file(self, name: str) -> None:
        raise AssertionError("one file is enough for it")


class Source:
    def __init__(self, data: bytes, sizes: Sequence[int] = (1 << 20,)) -> None:
        self._data, self._sizes, self._reads = data, sizes, 0

    @property
    def files(self) -> Sequence[SnapshotFile]:
        return (SnapshotFile("state", len(self._data), 0),)

    async def open_file(self, name: str) -> None:
        raise AssertionError("it is open")

    async def read(self, max_bytes: int = 1 << 20) -> bytes:
        size = min(max_bytes, self._sizes[self._reads % len(self._sizes)])
        self._reads += 1
        piece, self._data = self._data[:size], self._data[size:]
        return piece


async def snapshot(machine: KvMachine) -> bytes:
    sink = Sink()
    await machine.snapshot(sink)
    return b"".join(sink.chunks)


async def run_random(machine: KvMachine, seed: int, steps: int) -> RequestMaker:
    maker = RequestMaker(random.Random(seed))
    for step in range(steps):
        request = maker.request()
        tag = COMMAND_TAGS.get(type(request))
        if tag is not None:
            await machine.apply([Command(step, 1, tag.encode(request.SerializeToString()))])
        maker.revision = machine.revision
    return maker


def put(key: bytes, value: bytes) -> Command:
    request = rpc_pb2.PutRequest(key=key, value=value)
    return Command(0, 1, Tag.PUT.encode(request.SerializeToString()))


@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(0, 100),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
async def test_a_restored_machine_answers_and_goes_on_the_same(
    seed: int, steps: int, sizes: list[int]
) -> None:
    original, restored = KvMachine(), KvMachine()
    maker = await run_random(original, seed, steps)
    await restored.apply([put(b"left", b"over")])
    data = await snapshot(original)
    await restored.restore(Source(data, sizes))
    assert await snapshot(restored) == data
    assert await restored.hash() == await original.hash()
    assert (restored.revision, restored.key_count) == (original.revision, original.key_count)
    for step in range(30):
        request = maker.request()
        body = request.SerializeToString()
        tag = COMMAND_TAGS.get(type(request))
        if tag is None:
            ours, theirs = [await m.query(Tag.RANGE.encode(body)) for m in (restored, original)]
        else:
            command = Command(step, 1, tag.encode(body))
            ((ours,), (theirs,)) = [await m.apply([command]) for m in (restored, original)]
        assert ours == theirs
        maker.revision = original.revision


async def test_chunks_are_bounded() -> None:
    machine = KvMachine()
    value = b"v" * 1000
    await machine.apply([put(b"%d" % i, value) for i in range(2000)])
    sink = Sink()
    await machine.snapshot(sink)
    assert len(sink.chunks) > 5
    assert max(map(len, sink.chunks)) < CHUNK_SIZE + 2 * len(value)


@given(place=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
async def test_a_flipped_bit_is_found_and_changes_nothing(place: int, bit: int) -> None:
    machine = KvMachine()
    await run_random(machine, 3, 20)
    data = bytearray(await snapshot(machine))
    data[place % len(data)] ^= 1 << bit
    target = KvMachine()
    await target.apply([put(b"kept", b"")])
    with pytest.raises(CorruptionError, match="key-value snapshot: corrupt at offset"):
        await target.restore(Source(bytes(data)))
    assert (target.revision, target.key_count) == (2, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "ends too early"),
        (lambda data: b"", "ends too early"),
        (lambda data: data + b"!", "bytes after the end"),
        (lambda data: b"something else entirely" * 10, "starts with"),
    ],
)
async def test_other_streams_are_refused(change: object, reason: str) -> None:
    machine = KvMachine()
    await machine.apply([put(b"a", b"b")])
    data = await snapshot(machine)
    assert callable(change)
    with pytest.raises(CorruptionError, match=reason):
        await machine.restore(Source(change(data), [7]))


async def test_the_hash_tells_replicas_apart() -> None:
    first, second = KvMachine(), KvMachine()
    await first.apply([put(b"a", b"1"), put(b"a", b"2")])
    await second.apply([put(b"a", b"1"), put(b"a", b"3")])
    assert await first.hash(2) == await second.hash(2)
    assert await first.hash() != await second.hash()
