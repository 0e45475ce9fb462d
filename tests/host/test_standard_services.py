"""Health and reflection of a node: its status follows the group, all it serves is described."""

from __future__ import annotations

import pytest
import trio
from counter_nodes import FAST, Counter, free_ports
from google.protobuf import descriptor_database, descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import trioraft
from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest, HealthListRequest
from trioraft._proto.grpc.reflection_grpc import ServerReflectionStub
from trioraft._proto.grpc.reflection_pb2 import ServerReflectionRequest
from trioraft.host import KvBackend, follow_health
from trioraft.machines.kv import KvMachine
from trioraft.protocols.etcd import etcd_services
from trioraft.rpc import Channel, open_channel
from trioraft.rpc.services import HealthService, ServingStatus

SERVING, NOT_SERVING = ServingStatus.SERVING, ServingStatus.NOT_SERVING


async def describe(channel: Channel) -> dict[str, int]:
    """Every service that is listed, by name the number of its methods, from what is told alone."""
    stub = ServerReflectionStub(channel)
    [listed] = await stub.ServerReflectionInfo([ServerReflectionRequest(list_services="")])
    names = [service.name for service in listed.list_services_response.service]
    methods = {}
    for name in names:
        # A call and a pool each: every answer must be complete in itself.
        request = ServerReflectionRequest(file_containing_symbol=name)
        [reply] = await stub.ServerReflectionInfo([request])
        assert reply.WhichOneof("message_response") == "file_descriptor_response", reply
        files = descriptor_database.DescriptorDatabase()
        for raw in reply.file_descriptor_response.file_descriptor_proto:
            files.Add(FileDescriptorProto.FromString(raw))
        pool = descriptor_pool.DescriptorPool(files)
        methods[name] = len(pool.FindServiceByName(name).methods)
    return methods


@pytest.mark.parametrize(
    ("wire", "peers_service"),
    [
        ("ratis", "ratis.grpc.RaftServerProtocolService"),
        ("openraft", "coordinode.v1.replication.RaftService"),
    ],
)
async def test_a_node_tells_its_health_and_describes_all_it_serves(
    wire: str, peers_service: str
) -> None:
    [port] = free_ports(1)
    health = HealthService()
    async with (
        trioraft.open_node(
            id="1",
            peers=f"1=127.0.0.1:{port}",
            machine=KvMachine(),
            config=FAST,
            wire=wire,
            services=lambda node: etcd_services(KvBackend(node)),
            health=health,
            reflection=True,
        ) as node,
        open_channel(node.address) as channel,
    ):
        await node.wait_leader()
        stub = HealthStub(channel)
        statuses = (await stub.List(HealthListRequest())).statuses
        assert {name: entry.status for name, entry in statuses.items()} == dict.fromkeys(
            ["", "etcdserverpb.KV", "etcdserverpb.Cluster", "etcdserverpb.Maintenance"], SERVING
        )
        services = await describe(channel)
    assert services["etcdserverpb.KV"] >= 3
    assert services["grpc.health.v1.Health"] == 3
    assert services["trioraft.local.NodeService"] >= 5
    assert services[peers_service] >= 1


async def test_without_a_quorum_a_node_does_not_serve() -> None:
    ports = free_ports(3)
    peers = {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports)}
    health = HealthService()
    async with trioraft.open_node(
        id="n0", peers=peers, machine=Counter(), config=FAST, health=health
    ) as node:
        async with open_channel(node.address) as channel:
            assert (await HealthStub(channel).Check(HealthCheckRequest())).status == NOT_SERVING


async def test_health_follows_a_leader_that_comes_and_goes() -> None:
    peers = {name: f"127.0.0.1:{port}" for name, port in zip("ab", free_ports(2), strict=True)}
    health = HealthService()
    async with (
        trioraft.open_node(
            id="a", peers=peers, machine=Counter(), config=FAST, health=health
        ) as node,
        open_channel(node.address) as channel,
    ):
        async with HealthStub(channel).Watch.open() as watch:
            await watch.send_message(HealthCheckRequest(), end=True)
            seen = []
            with trio.fail_after(10):
                seen.append((await watch.recv_message()).status)
                async with trioraft.open_node(id="b", peers=peers, machine=Counter(), config=FAST):
                    while seen[-1] != SERVING:
                        seen.append((await watch.recv_message()).status)
                while seen[-1] == SERVING:
                    seen.append((await watch.recv_message()).status)
            await watch.cancel()
    assert seen[0] == NOT_SERVING
    assert seen[-1] == NOT_SERVING


class FakeNode:
    def __init__(self) -> None:
        self.leader: str | None = None
        self.removed = False
        self.failure: BaseException | None = None
        self._changed = trio.Event()

    async def wait_change(self) -> None:
        await self._changed.wait()

    async def change(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self._changed.set()
        self._changed = trio.Event()
        await trio.testing.wait_all_tasks_blocked()


async def test_who_is_removed_or_fails_does_not_serve() -> None:
    node, health = FakeNode(), HealthService()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(follow_health, node, health, ["", "x"])
            assert health.get() is NOT_SERVING
            await node.change(leader="a")
            assert (health.get(), health.get("x")) == (SERVING, SERVING)
            await node.change(removed=True)
            assert health.get("x") is NOT_SERVING
            await node.change(removed=False)
            assert health.get() is SERVING
            await node.change(failure=ValueError("broken"))
    assert (health.get(), health.get("x")) == (NOT_SERVING, NOT_SERVING)
