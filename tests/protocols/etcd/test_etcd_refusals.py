"""What the etcd services refuse, and in which of etcd's words."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from etcd_backend import DirectBackend
from etcd_kit import raw, serving

from trioraft._proto.etcd import rpc_pb2
from trioraft._proto.etcd.rpc_grpc import KVStub, MaintenanceStub
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
    GRPCError,
    Limits,
    Status,
    open_server,
)
from trioraft.rpc.wire.http2 import client_engine


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
