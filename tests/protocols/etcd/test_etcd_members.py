"""Changes of members through the etcd API: what is asked of the node, and etcd's own refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from etcd_backend import DirectBackend

from trioraft._proto.etcd import rpc_pb2 as pb
from trioraft._proto.etcd.rpc_grpc import ClusterStub, MaintenanceStub
from trioraft.protocols.etcd import etcd_services
from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    NotLeaderError,
    StagingTimeoutError,
)
from trioraft.rpc import Channel, GRPCError, Status, open_channel, serve


@asynccontextmanager
async def serving(backend: DirectBackend) -> AsyncIterator[Channel]:
    async with trio.open_nursery() as nursery:
        ((host, port),) = await nursery.start(partial(serve, etcd_services(backend), port=0))
        async with open_channel(f"{host}:{port}") as channel:
            yield channel
        nursery.cancel_scope.cancel()


async def refusal(call: Awaitable[object]) -> tuple[Status, str]:
    with pytest.raises(GRPCError) as caught:
        await call
    return caught.value.status, caught.value.message or ""


N1 = DirectBackend.member_id
N2 = 7  # a learner


async def test_changes_reach_the_node() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        cluster = ClusterStub(channel)
        added = await cluster.MemberAdd(
            pb.MemberAddRequest(peerURLs=["http://127.0.0.1:3/"], isLearner=True)
        )
        assert (added.member.name, added.member.isLearner) == ("n3", True)
        assert [member.name for member in added.members] == ["n1", "n2"]
        await cluster.MemberRemove(pb.MemberRemoveRequest(ID=N2))
        await cluster.MemberUpdate(pb.MemberUpdateRequest(ID=N2, peerURLs=["http://[::1]:4"]))
        promoted = await cluster.MemberPromote(pb.MemberPromoteRequest(ID=N2))
        assert promoted.header.member_id == N1
        assert backend.changes == [
            "add 127.0.0.1:3 True",
            "remove n2",
            "move n2 [::1]:4",
            "promote n2",
        ]


async def test_refusals_are_those_of_etcd() -> None:
    async with serving(DirectBackend()) as channel:
        cluster = ClusterStub(channel)
        unknown = (Status.NOT_FOUND, "etcdserver: member not found")
        assert await refusal(cluster.MemberRemove(pb.MemberRemoveRequest(ID=1))) == unknown
        assert await refusal(cluster.MemberPromote(pb.MemberPromoteRequest(ID=1))) == unknown
        for urls in ([], ["127.0.0.1:3"], ["https://a:3"], ["http://a"], ["http://a:b"]):
            bad = await refusal(cluster.MemberAdd(pb.MemberAddRequest(peerURLs=urls)))
            assert bad == (Status.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")
        taken = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:2"])
        assert "Peer URLs already exists" in (await refusal(cluster.MemberAdd(taken)))[1]
        moved = pb.MemberUpdateRequest(ID=N2, peerURLs=["http://127.0.0.1:1"])
        assert "Peer URLs already exists" in (await refusal(cluster.MemberUpdate(moved)))[1]
        voter = await refusal(cluster.MemberPromote(pb.MemberPromoteRequest(ID=N1)))
        assert voter == (
            Status.FAILED_PRECONDITION,
            "etcdserver: can only promote a learner member",
        )


async def test_refusals_of_the_node_become_statuses() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        cluster = ClusterStub(channel)
        add = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:3"])
        promote = pb.MemberPromoteRequest(ID=N2)
        backend.failure = ConfigurationError("nobody votes")
        failed = (Status.FAILED_PRECONDITION, "etcdserver: nobody votes")
        assert await refusal(cluster.MemberAdd(add)) == failed
        assert await refusal(cluster.MemberRemove(pb.MemberRemoveRequest(ID=N2))) == failed
        backend.failure = StagingTimeoutError("late")
        assert (await refusal(cluster.MemberAdd(add)))[0] is Status.UNAVAILABLE
        late = await refusal(cluster.MemberPromote(promote))
        assert late == (
            Status.FAILED_PRECONDITION,
            "etcdserver: can only promote a learner member which is in sync with leader",
        )
        backend.failure = ChangeInProgressError("another")
        assert (await refusal(cluster.MemberPromote(promote)))[0] is Status.UNAVAILABLE


async def test_move_leader() -> None:
    backend = DirectBackend()
    async with serving(backend) as channel:
        maintenance = MaintenanceStub(channel)
        await maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=N1))  # it leads already
        bad = (Status.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
        for target in (1, N2):  # nobody, and a learner
            call = maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=target))
            assert await refusal(call) == bad
        assert backend.changes == []
        backend.leader_member_id = N2
        elsewhere = await refusal(maintenance.MoveLeader(pb.MoveLeaderRequest(targetID=N1)))
        assert elsewhere == (Status.FAILED_PRECONDITION, "etcdserver: not leader")


async def test_move_leader_to_a_voter(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = DirectBackend()
    n1, n2 = backend.members()
    voters = (n1, type(n2)(n2.id, n2.name, n2.peer_urls, n2.client_urls))
    monkeypatch.setattr(backend, "members", lambda: voters)
    async with serving(backend) as channel:
        maintenance = MaintenanceStub(channel)
        request = pb.MoveLeaderRequest(targetID=N2)
        await maintenance.MoveLeader(request)
        assert backend.changes == ["lead n2"]
        backend.failure = NotLeaderError("n2")
        assert (await refusal(maintenance.MoveLeader(request)))[1] == "etcdserver: not leader"
