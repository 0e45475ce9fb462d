"""Servers that come and go in good order, over real sockets: no call without a policy notices."""

from __future__ import annotations

from collections import Counter
from typing import Any

import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One, serving

from trioraft.rpc import Channel, ConnectionLifetime, Limits, open_channel, open_server

CALLERS = 10


class Ledger:
    """An echo that counts how often each request was handled."""

    def __init__(self) -> None:
        self.handled: Counter[bytes] = Counter()

    async def __call__(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.handled[request.payload] += 1
        await trio.sleep(0.001)
        await stream.send_message(EchoReply(payload=request.payload))


async def ask(channel: Channel, name: int, calls: int) -> None:
    for index in range(calls):
        payload = b"%d/%d" % (name, index)
        reply = await EchoStub(channel).Unary(EchoRequest(payload=payload))
        assert reply.payload == payload


async def test_connections_that_age() -> None:
    ledger = Ledger()
    lifetime = ConnectionLifetime(max_age=0.05, max_age_grace=5.0)
    # On a busy machine a connection may be old before it has had its first call.
    limits = Limits(reconnect_min=0.01, reconnect_max=0.02)
    async with serving([One(ledger)], lifetime=lifetime) as address:
        async with open_channel(address, limits=limits, wait_for_ready=True) as channel:
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for name in range(CALLERS):
                        nursery.start_soon(ask, channel, name, 100)
    assert len(ledger.handled) == CALLERS * 100
    assert set(ledger.handled.values()) == {1}


async def test_a_server_that_is_replaced() -> None:
    """One stops in good order while the next one listens on the same address."""
    ledger = Ledger()
    limits = Limits(reconnect_min=0.01, reconnect_max=0.02)
    async with open_server([One(ledger)], port=0) as first:
        port = first.addresses[0][1]
        async with open_channel(f"127.0.0.1:{port}", limits=limits, wait_for_ready=True) as channel:
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for name in range(CALLERS):
                        nursery.start_soon(ask, channel, name, 100)
                    await trio.sleep(0.05)
                    await first.stop(grace=5)
                    server = open_server([One(ledger)], port=port)
                    async with server as second:
                        while nursery.child_tasks:
                            await trio.sleep(0.01)
                        assert second.connections
    assert len(ledger.handled) == CALLERS * 100
    assert set(ledger.handled.values()) == {1}
