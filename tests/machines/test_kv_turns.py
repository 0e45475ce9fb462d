"""The KV machine beside other tasks: long work, cancellation, what is done on the spot."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import trio
from kv_calls import command, put, read

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvMachine, Tag
from trioraft.node.machine import Command


async def test_long_work_lets_others_run() -> None:
    machine = KvMachine()
    everything = {"key": b"\0", "range_end": b"\0"}
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def turns_during(work: Awaitable[Any]) -> int:
        before = turns
        await work
        return turns - before

    def txn(*operations: rpc_pb2.RequestOp) -> Command:
        compare = rpc_pb2.Compare(result="NOT_EQUAL", target="MOD", mod_revision=1, **everything)
        return command(Tag.TXN, rpc_pb2.TxnRequest(compare=[compare], success=operations))

    def compact() -> Command:
        return command(Tag.COMPACT, rpc_pb2.CompactionRequest(revision=machine.revision))

    wide = rpc_pb2.RangeRequest(**everything)
    delete = rpc_pb2.DeleteRangeRequest(**everything, prev_kv=True)
    puts = [put(b"%06d" % i) for i in range(3000)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        assert await turns_during(machine.apply(puts)) >= 8
        assert await turns_during(read(machine, **everything)) >= 16
        assert await turns_during(read(machine, **everything, revision=2900)) >= 16
        assert await turns_during(machine.hash()) >= 8
        assert await turns_during(machine.apply([compact()])) >= 8
        ranging = txn(rpc_pb2.RequestOp(request_range=wide))
        assert await turns_during(machine.apply([ranging])) >= 24
        deleting = txn(rpc_pb2.RequestOp(request_delete_range=delete))
        assert await turns_during(machine.apply([deleting])) >= 32
        assert machine.key_count == 0
        nursery.cancel_scope.cancel()


async def test_a_cancelled_batch_is_finished_first() -> None:
    machine = KvMachine()
    with trio.CancelScope() as scope:
        scope.cancel()
        replies = await machine.apply([put(b"%d" % i) for i in range(1000)])
        assert len(replies) == 1000
    assert machine.key_count == 1000


async def test_what_is_done_on_the_spot_is_what_is_done_in_a_task() -> None:
    """Puts and ranges, good and bad ones, on two machines that go different ways."""
    quick, slow = KvMachine(), KvMachine()
    puts = [put(b"k%d" % (n % 5), b"v%d" % n, prev_kv=n % 2 == 0) for n in range(20)]
    puts += [put(b""), put(b"k", lease=7), put(b"new", ignore_value=True)]
    puts.append(Command(0, 1, bytes((Tag.PUT,)) + b"\xff\xff"))
    assert quick.apply_now(puts) == await slow.apply(puts)
    gone = [put(b"gone"), command(Tag.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"gone"))]
    assert await quick.apply(gone) == await slow.apply(gone)
    requests = [
        rpc_pb2.RangeRequest(key=b"k1"),
        rpc_pb2.RangeRequest(key=b"k", range_end=b"l", limit=2),
        rpc_pb2.RangeRequest(key=b"k1", revision=3),
        rpc_pb2.RangeRequest(key=b"k1", revision=3000),
        rpc_pb2.RangeRequest(key=b"none"),
        rpc_pb2.RangeRequest(key=b"gone"),
        rpc_pb2.RangeRequest(key=b"k2", limit=1, sort_order="DESCEND", sort_target="VALUE"),
        rpc_pb2.RangeRequest(key=b"k2", limit=-1, serializable=True),
        rpc_pb2.RangeRequest(key=b"k2", keys_only=True),
        rpc_pb2.RangeRequest(key=b"k2", count_only=True),
        rpc_pb2.RangeRequest(key=b"k2", min_mod_revision=1000),
        rpc_pb2.RangeRequest(key=b"k2", max_create_revision=1),
    ]
    for request in requests:
        data = Tag.RANGE.encode(request.SerializeToString())
        assert quick.query_now(data) == await slow.query(data)
    assert await quick.hash() == await slow.hash()


async def test_what_is_not_done_on_the_spot_changes_nothing() -> None:
    machine = KvMachine()
    for start in range(0, 1000, 200):
        machine.apply_now([put(b"%04d" % n) for n in range(start, start + 200)])
    before = machine.revision
    delete = command(Tag.DELETE_RANGE, rpc_pb2.DeleteRangeRequest(key=b"0001"))
    assert machine.apply_now([put(b"a"), delete]) is None
    assert machine.apply_now([Command(0, 1, b"")]) is None
    assert machine.revision == before
    everything = rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0").SerializeToString()
    assert machine.query_now(Tag.RANGE.encode(everything)) is None
    assert machine.query_now(Tag.REVISION.encode(b"")) is None
    machine.apply_now([put(b"large", bytes(300_000))])
    large = Tag.RANGE.encode(rpc_pb2.RangeRequest(key=b"large").SerializeToString())
    assert machine.query_now(large) is None
    assert len(await machine.query(large)) > 300_000
    assert len(await machine.query(Tag.RANGE.encode(everything))) > 10_000
