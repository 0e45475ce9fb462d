"""What the tests of the etcd services share: a server in front of a machine without Raft."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from etcd_backend import DirectBackend

from trioraft.protocols.etcd import etcd_services
from trioraft.rpc import (
    Cardinality,
    Channel,
    Encoded,
    open_channel,
    serve,
)


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
