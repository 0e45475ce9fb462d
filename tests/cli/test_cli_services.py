"""`trioraft node` as gRPC's own tools see it: grpcio's health and reflection clients."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
import trio
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from trioraft._proto.grpc.health_grpc import HealthStub
from trioraft._proto.grpc.health_pb2 import HealthCheckRequest
from trioraft._proto.grpc.reflection_grpc import ServerReflectionStub
from trioraft._proto.grpc.reflection_pb2 import ServerReflectionRequest
from trioraft.cli.demo.cluster import open_cluster
from trioraft.rpc import GRPCError, Status, open_channel

RANGE = "etcdserverpb.KV"


def _inspect(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", RANGE):
            for reply in health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=20):
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    break
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName(RANGE).methods_by_name["Put"]
        request = message_factory.GetMessageClass(method.input_type)
        reply_type = message_factory.GetMessageClass(method.output_type)
        put = channel.unary_unary(
            f"/{RANGE}/Put",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply_type.FromString,
        )
        assert put(request(key=b"k", value=b"v"), timeout=20).header.revision == 2


async def test_a_node_is_healthy_and_can_be_called_from_its_own_description(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1) as cluster:
        with trio.fail_after(60):
            await trio.to_thread.run_sync(_inspect, cluster.endpoints)


async def test_a_node_need_not_describe_itself(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, size=1, options=["--no-reflection"]) as cluster:
        async with open_channel(cluster.endpoints) as channel:
            with trio.fail_after(60):
                request = ServerReflectionRequest(list_services="")
                with pytest.raises(GRPCError) as caught:
                    await ServerReflectionStub(channel).ServerReflectionInfo([request])
                assert caught.value.status is Status.UNIMPLEMENTED
                await HealthStub(channel).Check(HealthCheckRequest())
