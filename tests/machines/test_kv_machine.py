"""The KV machine as a state machine: batches, bad commands, fairness, details of history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kv_calls import command, put, read

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvError, KvMachine, Reply, Tag, decode_reply, encode_reply
from trioraft.node.machine import Command


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
