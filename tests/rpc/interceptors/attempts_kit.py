"""What the tests of interceptors around retries share: policies, a service that fails at first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from trioraft.rpc import (
    Channel,
    GRPCError,
    Status,
    current_call,
    open_channel,
    serve,
)
from trioraft.rpc.testing import MemoryListener

RETRY = {
    "maxAttempts": 3,
    "initialBackoff": "1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


HEDGE = {"maxAttempts": 3, "hedgingDelay": "1s", "nonFatalStatusCodes": ["UNAVAILABLE"]}


def config(**policy: Any) -> dict[str, Any]:
    return {"methodConfig": [{"name": [{}], **policy}]}


@asynccontextmanager
async def connected(
    services: list[Any], client: dict[str, Any], **server: Any
) -> AsyncIterator[Channel]:
    """A server and a channel in memory, with options of either."""
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, services, listeners=[listener], **server))
        async with open_channel("in-memory", dial=listener.dial, **client) as channel:
            yield channel
        nursery.cancel_scope.cancel()


class Flaky(EchoBase):
    """Fails twice, then answers; each failure takes a second."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def Unary(self, request: EchoRequest) -> EchoReply:
        self.seen.append(str(current_call().metadata.get("token")))
        if len(self.seen) < 3:
            await trio.sleep(1)
            raise GRPCError(Status.UNAVAILABLE, "not yet")
        return EchoReply(payload=request.payload)

    async def Collect(self, requests: Any) -> EchoReply:
        payloads = [request.payload async for request in requests]
        await self.Unary(EchoRequest())
        return EchoReply(payload=b"".join(payloads))


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    return {metric.name: list(metric.data.data_points) for metric in scope.metrics}
