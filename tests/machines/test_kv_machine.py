"""The KV machine as a state machine: batches, bad commands, fairness, details of history."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvError, KvMachine, Reply, Tag, decode_reply, encode_reply
from trioraft.node.machine import Command


def command(tag: Tag, request: Any) -> Command:
    return Command(0, 1, tag.encode(request.SerializeToString()))


def put(key: bytes, value: bytes = b"", **options: Any) -> Command:
    return command(Tag.PUT, rpc_pb2.PutRequest(key=key, value=value, **options))


async def read(machine: KvMachine, key: bytes, **options: Any) -> rpc_pb2.RangeResponse:
    request = rpc_pb2.RangeRequest(key=key, **options)
    reply = await machine.query(Tag.RANGE.encode(request.SerializeToString()))
    return rpc_pb2.RangeResponse.FromString(decode_reply(reply).body)


async def test_a_put_is_answered_by_eight_bytes() -> None:
    replies = await KvMachine().apply([put(b"a"), put(b"b")])
    assert replies == [b"\0\0\0\0\0\0\0\2", b"\0\0\0\0\0\0\0\3"]


async def test_it_describes_itself() -> None:
    machine = KvMachine()
    await machine.apply([put(b"a"), put(b"a"), put(b"b")])
    assert machine.describe() == {"keys": "2", "revision": "4", "compacted": "-1"}


async def test_the_empty_store_has_revision_one() -> None:
    assert decode_reply(await KvMachine().query(Tag.REVISION.encode(b""))) == Reply(1, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x01\xff",
        b"\x03\x0a\x05",
        b"\x10",
        b"\xff\x03boo",
        Tag.COMPACT.encode(b"\xff"),
    ],
)
async def test_a_command_that_is_no_request_is_refused_and_changes_nothing(data: bytes) -> None:
    machine = KvMachine()
    before = await machine.hash()
    (reply,) = await machine.apply([Command(0, 1, data)])
    with pytest.raises(KvError, match="cannot be decoded"):
        decode_reply(reply)
    assert (await machine.hash(), machine.revision) == (before, 1)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x10\xff", b"\x11\xff", b"\x12\xff", b"\x63"])
async def test_a_query_that_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(KvError, match="cannot be decoded"):
        decode_reply(await KvMachine().query(data))


async def test_a_txn_that_writes_is_no_query() -> None:
    machine = KvMachine()
    request = rpc_pb2.TxnRequest(
        success=[rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a"))]
    )
    with pytest.raises(KvError):
        decode_reply(await machine.query(Tag.READ_TXN.encode(request.SerializeToString())))
    assert machine.key_count == 0


@given(st.binary(max_size=40))
async def test_no_bytes_make_it_raise(data: bytes) -> None:
    machine = KvMachine()
    (reply,) = await machine.apply([Command(0, 1, data)])
    assert reply
    assert await machine.query(data)


@given(st.integers(0, 2**63 - 1), st.binary())
def test_replies_come_back(revision: int, body: bytes) -> None:
    assert decode_reply(encode_reply(revision, body)) == (revision, body)


def test_what_is_no_reply_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a reply"):
        decode_reply(b"abc")


async def test_an_empty_key_never_enters_the_store() -> None:
    machine = KvMachine()
    txn = rpc_pb2.TxnRequest(
        success=[rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key)) for key in (b"a", b"")]
    )
    for reply in await machine.apply([put(b""), command(Tag.TXN, txn)]):
        with pytest.raises(KvError, match="key is not provided"):
            decode_reply(reply)
    assert (machine.revision, machine.key_count) == (1, 0)


async def test_writes_of_one_txn_share_a_revision_and_see_each_other() -> None:
    machine = KvMachine()
    operations = [
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a", value=b"1")),
        rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a")),
        rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=b"a")),
        rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a", value=b"2")),
    ]
    (reply,) = await machine.apply([command(Tag.TXN, rpc_pb2.TxnRequest(success=operations))])
    revision, body = decode_reply(reply)
    response = rpc_pb2.TxnResponse.FromString(body)
    assert revision == 2
    assert response.succeeded
    assert response.responses[1].response_range.kvs[0].value == b"1"
    assert response.responses[1].response_range.header.revision == 2
    (kv,) = (await read(machine, b"a")).kvs
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (b"2", 2, 2, 1)


async def test_comparisons_see_the_state_before_the_txn() -> None:
    machine = KvMachine()
    missing = rpc_pb2.Compare(target="VERSION", key=b"a", version=0)
    nested = rpc_pb2.TxnRequest(compare=[missing])
    request = rpc_pb2.TxnRequest(
        compare=[missing],
        success=[
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"a")),
            rpc_pb2.RequestOp(request_txn=nested),
        ],
    )
    (reply,) = await machine.apply([command(Tag.TXN, request)])
    response = rpc_pb2.TxnResponse.FromString(decode_reply(reply).body)
    assert response.responses[1].response_txn.succeeded


async def test_a_put_that_ignores_what_its_own_txn_deleted() -> None:
    """etcd 3.4 crashes on this one, on every member."""
    machine = KvMachine()
    ignoring = rpc_pb2.PutRequest(key=b"a", value=b"new", ignore_lease=True)
    delete = rpc_pb2.DeleteRangeRequest(key=b"a", range_end=b"\0")
    request = rpc_pb2.TxnRequest(
        success=[
            rpc_pb2.RequestOp(request_delete_range=delete),
            rpc_pb2.RequestOp(request_put=ignoring),
        ]
    )
    _, reply = await machine.apply([put(b"a", b"old"), command(Tag.TXN, request)])
    assert decode_reply(reply).revision == 3
    (kv,) = (await read(machine, b"a")).kvs
    assert (kv.value, kv.version, kv.create_revision) == (b"new", 1, 3)


async def test_a_compaction_keeps_what_later_reads_see() -> None:
    machine = KvMachine()
    await machine.apply([put(b"a", b"%d" % i) for i in range(5)])  # revisions 2 to 6
    delete = rpc_pb2.DeleteRangeRequest(key=b"a")
    await machine.apply([command(Tag.DELETE_RANGE, delete)])  # 7
    compact = rpc_pb2.CompactionRequest(revision=5)
    (reply,) = await machine.apply([command(Tag.COMPACT, compact)])
    assert decode_reply(reply) == Reply(7, b"")
    assert (await read(machine, b"a", revision=5)).kvs[0].value == b"3"
    assert (await read(machine, b"a", revision=6)).kvs[0].value == b"4"
    with pytest.raises(KvError, match="compacted"):
        await read(machine, b"a", revision=4)
    await machine.apply([put(b"b"), command(Tag.COMPACT, rpc_pb2.CompactionRequest(revision=8))])
    assert (await read(machine, b"\0", range_end=b"\0", revision=8)).count == 1


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
