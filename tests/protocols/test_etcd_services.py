"""The etcd services over our own gRPC, in front of a machine without Raft."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from etcd_backend import DirectBackend

from trioraft._proto.etcd import rpc_pb2
from trioraft._proto.etcd.rpc_grpc import ClusterStub, KVStub, MaintenanceStub
from trioraft.machines.kv import Tag
from trioraft.protocols.etcd import MAX_MESSAGE_BYTES, etcd_services
from trioraft.raft.errors import (
    EntryTooLargeError,
    GroupStoppedError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.rpc import (
    Cardinality,
    Channel,
    Encoded,
    GRPCError,
    Limits,
    Status,
    open_channel,
    open_server,
    serve,
)
from trioraft.rpc.wire.http2 import client_engine


@asynccontextmanager
async def serving(backend: DirectBackend, **options: Any) -> AsyncIterator[Channel]:
    async with trio.open_nursery() as nursery:
        services = etcd_services(backend, **options)
        ((host, port),) = await nursery.start(partial(serve, services, port=0))
        async with open_channel(f"{host}:{port}") as channel:
            yield channel
        nursery.cancel_scope.cancel()


async def raw(channel: Channel, method: str, data: bytes) -> bytes:
    """One call with bytes as they are; `method` is Service/Method."""
    path = f"/etcdserverpb.{method}"
    async with channel.request(path, Cardinality.UNARY_UNARY, Encoded, Encoded) as stream:
        await stream.send_message(Encoded(data), end=True)
        reply = await stream.recv_message()
    assert isinstance(reply, bytes)
    return reply


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


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (NotLeaderError(None), Status.UNAVAILABLE, "no leader"),
        (NotLeaderError("n2"), Status.UNAVAILABLE, "leader changed"),
        (NoQuorumError("x"), Status.UNAVAILABLE, "request timed out"),
        (
            ProposalDroppedError("x"),
            Status.UNAVAILABLE,
            "request timed out, possibly due to previous leader failure",
        ),
        (OverloadedError("x"), Status.RESOURCE_EXHAUSTED, "too many requests"),
        (EntryTooLargeError("x"), Status.INVALID_ARGUMENT, "request is too large"),
        (GroupStoppedError("x"), Status.UNAVAILABLE, "server stopped"),
        (TrioraftError("something new"), Status.UNKNOWN, "something new"),
    ],
)
async def test_the_nodes_errors_become_etcds(
    error: TrioraftError, status: Status, message: str
) -> None:
    backend = DirectBackend()
    backend.failure = error
    async with serving(backend) as channel:
        kv = KVStub(channel)
        for call in (
            partial(kv.Put, rpc_pb2.PutRequest(key=b"a")),
            partial(kv.Range, rpc_pb2.RangeRequest(key=b"a")),
        ):
            with pytest.raises(GRPCError) as caught:
                await call()
            assert caught.value.status is status
            assert caught.value.message == f"etcdserver: {message}"


@pytest.mark.parametrize(
    "method", ["KV/Range", "KV/Put", "KV/DeleteRange", "KV/Txn", "KV/Compact", "Cluster/MemberList"]
)
async def test_a_request_that_does_not_decode(method: str) -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        with pytest.raises(GRPCError, match="cannot be decoded") as caught:
            await raw(channel, method, b"\x0a\xff")
        assert caught.value.status is Status.INVALID_ARGUMENT
    assert (backend.proposed, backend.asked) == ([], [])


async def test_deep_nesting_is_refused_not_followed() -> None:
    request = b""
    for _ in range(60):
        for tag in (b"\x22", b"\x12"):  # RequestOp.request_txn, TxnRequest.success
            size = bytes((len(request) & 0x7F | 0x80, len(request) >> 7))
            request = tag + size + request
    async with serving(DirectBackend()) as channel:
        with pytest.raises(GRPCError) as caught:
            await raw(channel, "KV/Txn", request)
        assert caught.value.status is Status.INVALID_ARGUMENT


async def test_a_request_above_the_limit_is_not_proposed() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        kv = KVStub(channel)
        await kv.Put(rpc_pb2.PutRequest(key=b"a", value=bytes(1536 * 1024 - 8)))
        with pytest.raises(GRPCError, match="etcdserver: request is too large") as caught:
            await kv.Put(rpc_pb2.PutRequest(key=b"a", value=bytes(1536 * 1024)))
        assert caught.value.status is Status.INVALID_ARGUMENT
    assert len(backend.proposed) == 1


async def test_a_node_that_does_not_answer_in_time() -> None:
    backend = DirectBackend()
    backend.stuck = True
    async with serving(backend, request_timeout=0.05) as channel:
        kv = KVStub(channel)
        for call in (
            partial(kv.Put, rpc_pb2.PutRequest(key=b"a")),
            partial(kv.Range, rpc_pb2.RangeRequest(key=b"a")),
        ):
            with trio.fail_after(5), pytest.raises(GRPCError, match="request timed out") as caught:
                await call()
            assert caught.value.status is Status.UNAVAILABLE
        backend.stuck = False
        assert not (await kv.Range(rpc_pb2.RangeRequest(key=b"a"))).count


async def test_clients_that_require_a_leader_are_told_at_once() -> None:
    backend = DirectBackend()
    backend.leader_member_id = 0
    async with serving(backend) as channel:
        kv = KVStub(channel)
        request = rpc_pb2.RangeRequest(key=b"a", serializable=True)
        await kv.Range(request)
        with pytest.raises(GRPCError, match="etcdserver: no leader") as caught:
            await kv.Range(request, metadata={"hasleader": "true"})
        assert caught.value.status is Status.UNAVAILABLE


async def test_a_learner_serves_only_what_needs_no_vote() -> None:
    backend = DirectBackend()
    backend.is_learner = True
    async with serving(backend) as channel:
        kv, maintenance = KVStub(channel), MaintenanceStub(channel)
        await kv.Range(rpc_pb2.RangeRequest(key=b"a", serializable=True))
        assert (await maintenance.Status(rpc_pb2.StatusRequest())).isLearner
        for call in (
            partial(kv.Put, rpc_pb2.PutRequest(key=b"a")),
            partial(kv.Range, rpc_pb2.RangeRequest(key=b"a")),
            partial(maintenance.Alarm, rpc_pb2.AlarmRequest()),
        ):
            with pytest.raises(GRPCError, match="rpc not supported for learner") as caught:
                await call()
            assert caught.value.status is Status.FAILED_PRECONDITION


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


@pytest.mark.parametrize("method", ["Watch/Watch", "Lease/LeaseGrant", "Maintenance/Downgrade"])
async def test_what_is_not_offered_is_unimplemented(method: str) -> None:
    async with serving(DirectBackend()) as channel:
        with pytest.raises(GRPCError) as caught:
            await raw(channel, method, b"")
        assert caught.value.status is Status.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["KV/Put", "Cluster/MemberList", "Maintenance/Status"])
async def test_a_message_above_the_limit_is_refused_by_its_length(method: str) -> None:
    """Nothing of it is waited for or kept: only its prefix is ever sent here."""
    headers = [
        (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"),
        (b":path", f"/etcdserverpb.{method}".encode()),
        (b"te", b"trailers"), (b"content-type", b"application/grpc"),
    ]  # fmt: skip
    engine, answer = client_engine(Limits()), dict[bytes, bytes]()
    # The server itself would take it: the limit is the service's own.
    limits = Limits(max_receive_message=65 << 20)
    async with open_server(etcd_services(DirectBackend()), port=0, limits=limits) as server:
        async with await trio.open_tcp_stream(*server.addresses[0]) as stream:
            call = engine.send_request(headers)
            engine.send_data(call, b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
            with trio.fail_after(10):
                while b"grpc-status" not in answer:
                    await stream.send_all(engine.data_to_send())
                    engine.receive_data(await stream.receive_some())
                    for event in engine.events():
                        answer.update(getattr(event, "headers", ()))
    assert int(answer[b"grpc-status"]) == Status.RESOURCE_EXHAUSTED.value
    assert str(MAX_MESSAGE_BYTES).encode() in answer[b"grpc-message"]
