"""The etcd services over our own gRPC, in front of a machine without Raft."""

from __future__ import annotations

import pytest
from etcd_backend import DirectBackend
from etcd_kit import raw, serving

from trioraft._proto.etcd import rpc_pb2
from trioraft._proto.etcd.rpc_grpc import ClusterStub, KVStub, MaintenanceStub
from trioraft.machines.kv import Tag
from trioraft.rpc import (
    GRPCError,
    Status,
)


async def test_put_get_delete_with_the_generated_stub() -> None:
    async with serving(DirectBackend()) as channel:
        kv = KVStub(channel)
        await kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"1"))
        put = await kv.Put(rpc_pb2.PutRequest(key=b"a", value=b"2", prev_kv=True))
        assert put.prev_kv.value == b"1"
        got = await kv.Range(rpc_pb2.RangeRequest(key=b"a"))
        assert (got.count, got.kvs[0].value, got.kvs[0].version) == (1, b"2", 2)
        deleted = await kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"a"))
        assert (deleted.deleted, deleted.header.revision) == (1, 4)
        await kv.Compact(rpc_pb2.CompactionRequest(revision=3))
        with pytest.raises(GRPCError, match="required revision has been compacted") as caught:
            await kv.Range(rpc_pb2.RangeRequest(key=b"a", revision=2))
        assert caught.value.status is Status.OUT_OF_RANGE


async def test_every_response_starts_with_this_nodes_header() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        put = await raw(channel, "KV/Put", rpc_pb2.PutRequest(key=b"k").SerializeToString())
        expected = rpc_pb2.PutResponse()
        expected.header.cluster_id = backend.cluster_id
        expected.header.member_id = backend.member_id
        expected.header.revision = 2
        expected.header.raft_term = backend.term
        assert put == expected.SerializeToString()
        get = await raw(channel, "KV/Range", rpc_pb2.RangeRequest(key=b"k").SerializeToString())
        decoded = rpc_pb2.RangeResponse.FromString(get)
        assert decoded.header == expected.header
        assert decoded.SerializeToString(deterministic=True) == get


async def test_the_bytes_that_came_enter_the_log() -> None:
    """Also a field that this version does not know."""
    backend = DirectBackend()
    request = rpc_pb2.PutRequest(key=b"k", value=b"v").SerializeToString() + b"\xfa\x01\x03new"
    async with serving(backend) as channel:
        await raw(channel, "KV/Put", request)
    assert backend.proposed == [b"\x01" + request]


async def test_reads_are_linearizable_unless_the_client_says_otherwise() -> None:
    backend = DirectBackend()
    serializable = rpc_pb2.RangeRequest(key=b"a", serializable=True)
    operations = [rpc_pb2.RequestOp(request_range=serializable)]
    plain = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=b"a"))
    async with serving(backend) as channel:
        kv = KVStub(channel)
        await kv.Range(rpc_pb2.RangeRequest(key=b"a"))
        await kv.Range(serializable)
        await kv.Txn(rpc_pb2.TxnRequest(success=operations))
        await kv.Txn(rpc_pb2.TxnRequest(success=operations, failure=[plain]))
    asked = [(request[0], linearizable) for request, linearizable in backend.asked]
    assert asked == [
        (Tag.RANGE, True),
        (Tag.RANGE, False),
        (Tag.READ_TXN, False),
        (Tag.READ_TXN, True),
    ]
    assert backend.proposed == []


async def test_the_member_list() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        cluster = ClusterStub(channel)
        first, second = (await cluster.MemberList(rpc_pb2.MemberListRequest())).members
        assert (first.ID, first.name, first.isLearner) == (backend.member_id, "n1", False)
        assert list(first.clientURLs) == ["http://127.0.0.1:1"]
        assert (second.ID, second.isLearner) == (7, True)
        assert backend.asked == []
        await cluster.MemberList(rpc_pb2.MemberListRequest(linearizable=True))
        assert backend.asked == [(Tag.REVISION.encode(b""), True)]


async def test_status_works_without_a_leader() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        await KVStub(channel).Put(rpc_pb2.PutRequest(key=b"a"))
        maintenance = MaintenanceStub(channel)
        status = await maintenance.Status(rpc_pb2.StatusRequest())
        assert (status.leader, status.raftTerm, status.raftIndex) == (backend.member_id, 3, 1)
        assert (status.dbSize, status.header.revision, list(status.errors)) == (4096, 2, [])
        backend.leader_member_id = 0
        status = await maintenance.Status(rpc_pb2.StatusRequest())
        assert list(status.errors) == ["etcdserver: no leader"]


async def test_hashes_and_alarms() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        await KVStub(channel).Put(rpc_pb2.PutRequest(key=b"a"))
        await KVStub(channel).Put(rpc_pb2.PutRequest(key=b"b"))
        maintenance = MaintenanceStub(channel)
        older = await maintenance.HashKV(rpc_pb2.HashKVRequest(revision=2))
        newest = await maintenance.HashKV(rpc_pb2.HashKVRequest())
        assert older.hash != newest.hash == await backend.machine.hash()
        assert (older.hash_revision, newest.hash_revision, newest.compact_revision) == (2, 3, -1)
        assert (await maintenance.Hash(rpc_pb2.HashRequest())).hash == newest.hash
        with pytest.raises(GRPCError, match="future revision"):
            await maintenance.HashKV(rpc_pb2.HashKVRequest(revision=9))
        assert not (await maintenance.Alarm(rpc_pb2.AlarmRequest())).alarms
        raised = rpc_pb2.AlarmRequest(action="ACTIVATE", alarm="NOSPACE")
        with pytest.raises(GRPCError) as caught:
            await maintenance.Alarm(raised)
        assert caught.value.status is Status.UNIMPLEMENTED
