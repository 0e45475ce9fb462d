"""A captured store is written as it was, whatever happens to it meanwhile."""

from __future__ import annotations

import random
import time

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from kv_requests import COMMAND_TAGS, RequestMaker

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag
from trioraft.machines.kv import capture as capture_module
from trioraft.machines.kv.capture import StoreCapture
from trioraft.node.machine import Command


def chunks(machine: KvMachine) -> bytes:
    capture = machine.capture()
    try:
        return b"".join(capture.chunks())
    finally:
        capture.close()


async def change(machine: KvMachine, maker: RequestMaker, steps: int) -> None:
    for step in range(steps):
        request = maker.request()
        tag = COMMAND_TAGS.get(type(request))
        if tag is not None:
            await machine.apply([Command(step, 1, tag.encode(request.SerializeToString()))])
        maker.revision = machine.revision


async def send(machine: KvMachine, tag: Tag, request: Message) -> None:
    assert isinstance(
        request, rpc_pb2.PutRequest | rpc_pb2.DeleteRangeRequest | rpc_pb2.CompactionRequest
    )
    await machine.apply([Command(0, 1, tag.encode(request.SerializeToString()))])


@given(seed=st.integers(0, 2**32), before=st.integers(0, 80), between=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
async def test_changes_while_it_is_written_do_not_show(
    seed: int, before: int, between: int
) -> None:
    machine, twin = KvMachine(), KvMachine()
    maker, twins = (RequestMaker(random.Random(seed)) for _ in range(2))
    await change(machine, maker, before)
    await change(twin, twins, before)
    wanted = chunks(machine)
    capture = machine.capture()
    written = b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture_module, "KEYS_PER_STEP", 2)
        patch.setattr(capture_module, "CHUNK_SIZE", 50)
        for chunk in capture.chunks():
            written += chunk
            await change(machine, maker, between)
            await change(twin, twins, between)
            assert await machine.hash() == await twin.hash(), "a capture must not show"
    capture.close()
    assert written == wanted
    assert chunks(machine) == chunks(twin)


async def test_a_compaction_meanwhile_keeps_what_is_still_to_be_written() -> None:
    machine = KvMachine()
    for revision in range(3):
        for key in (b"a", b"b", b"c", b"d"):
            await send(machine, Tag.PUT, rpc_pb2.PutRequest(key=key, value=b"%d" % revision))
    await send(machine, Tag.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"c"))
    wanted = chunks(machine)
    capture = machine.capture()
    pieces = capture.chunks()
    await send(machine, Tag.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"d"))
    await send(machine, Tag.PUT, rpc_pb2.PutRequest(key=b"aa", value=b"younger"))
    await send(machine, Tag.COMPACT, rpc_pb2.CompactionRequest(revision=machine.revision))
    await send(machine, Tag.PUT, rpc_pb2.PutRequest(key=b"c", value=b"again"))
    assert b"".join(pieces) == wanted
    capture.close()
    restored = KvMachine()
    assert chunks(machine) != wanted
    assert await restored.hash() != await machine.hash()


async def test_capturing_a_large_store_takes_no_time() -> None:
    """Ten times the keys, the same time: nothing is copied. Both are far below a millisecond."""
    machine = KvMachine()
    taken = []
    for keys in (3_000, 30_000):
        commands = [
            Command(i, 1, Tag.PUT.encode(rpc_pb2.PutRequest(key=b"%08d" % i).SerializeToString()))
            for i in range(keys)
        ]
        await machine.apply(commands)
        best = 1.0
        for _ in range(20):
            begun = time.perf_counter()
            capture: StoreCapture = machine.capture()
            best = min(best, time.perf_counter() - begun)
            capture.close()
        taken.append(best)
    assert max(taken) < 0.001, taken
