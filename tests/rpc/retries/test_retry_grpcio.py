"""Policies across implementations: our client against grpcio's server, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, One, serving

from trioraft.rpc import Cardinality, GRPCError, Status, open_channel

grpc = pytest.importorskip("grpc")

CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "trioraft.testing.Echo"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Flaky:
    """grpcio's: fails with UNAVAILABLE until the third attempt, as that says that it is."""

    def __init__(self) -> None:
        self.heard: list[str | None] = []

    def __call__(self, request: EchoRequest, context: Any) -> EchoReply:
        metadata = dict(context.invocation_metadata())
        previous = metadata.get("grpc-previous-rpc-attempts")
        self.heard.append(previous)
        if request.payload == b"never":
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "-1")])
            context.abort(grpc.StatusCode.UNAVAILABLE, "do not come back")
        if int(previous or 0) < 2:
            context.set_trailing_metadata([("grpc-retry-pushback-ms", "20")])
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return EchoReply(payload=request.payload)


@pytest.fixture
def grpcio() -> Iterator[tuple[Flaky, str]]:
    flaky = Flaky()
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(
        flaky, EchoRequest.FromString, EchoReply.SerializeToString
    )
    methods = {"Unary": handler}
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("trioraft.testing.Echo", methods)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield flaky, f"127.0.0.1:{port}"
    server.stop(None).wait()


async def test_our_client_grpcios_server(grpcio: tuple[Flaky, str]) -> None:
    flaky, address = grpcio

    async def ask(payload: bytes) -> Any:
        kind = Cardinality.UNARY_UNARY
        async with channel.request(UNARY, kind, EchoRequest, EchoReply, timeout=10) as stream:
            await stream.send_message(EchoRequest(payload=payload), end=True)
            return await stream.recv_message()

    async with open_channel(address, service_config=CONFIG) as channel:
        assert (await ask(b"hello")).payload == b"hello"
        assert flaky.heard == [None, "1", "2"]
        with pytest.raises(GRPCError, match="do not come back"):
            await ask(b"never")
        assert len(flaky.heard) == 4


async def test_grpcios_client_our_server() -> None:
    heard: list[int] = []

    async def handler(stream: Any) -> None:
        request = await stream.recv_message()
        heard.append(stream.previous_attempts)
        if request.payload == b"never":
            stream.push_back(None)
            raise GRPCError(Status.UNAVAILABLE, "do not come back")
        if stream.previous_attempts < 2:
            stream.push_back(0.02)
            raise GRPCError(Status.UNAVAILABLE, "not yet")
        await stream.send_message(EchoReply(payload=request.payload))

    def ask(address: str, payload: bytes) -> Any:
        options = [("grpc.service_config", json.dumps(CONFIG))]
        with grpc.insecure_channel(address, options) as channel:
            method = channel.unary_unary(UNARY, EchoRequest.SerializeToString, EchoReply.FromString)
            return method(EchoRequest(payload=payload), timeout=10)

    async with serving([One(handler)]) as address:
        reply = await trio.to_thread.run_sync(ask, address, b"hello")
        assert reply.payload == b"hello"
        assert heard == [0, 1, 2]
        with pytest.raises(grpc.RpcError, match="do not come back"):
            await trio.to_thread.run_sync(ask, address, b"never")
        assert len(heard) == 4
