"""channelz counts calls, not attempts: retried and hedged ones are one each."""

from __future__ import annotations

from typing import Any

import trio
from channelz_world import asking, calls
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import MemoryNetwork, One

from trioraft.rpc import GRPCError, Status, open_channel, open_server
from trioraft.rpc.services import Registry


async def test_a_call_that_is_retried_is_one_call(autojump_clock: object) -> None:
    """Of the channel. The subchannel counts attempts."""
    registry, network = Registry(), MemoryNetwork()
    came = 0

    async def third_time_lucky(stream: Any) -> None:
        nonlocal came
        came += 1
        await stream.recv_message()
        if came % 3:
            raise GRPCError(Status.UNAVAILABLE)
        await stream.send_message(EchoReply())

    policy = {
        "maxAttempts": 3,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    async with asking(registry) as world, open_server([One(third_time_lucky)], listeners=[network]):
        async with open_channel(
            "there", dial=network.dial, registry=registry, service_config=config
        ) as channel:
            for _ in range(2):
                await EchoStub(channel).Unary(EchoRequest())
            [subchannel] = await world.subchannels()
            assert calls(subchannel.data) == (6, 2, 4)
            assert calls((await world.channel()).data) == (2, 2, 0)


async def test_hedges_are_one_call_too(autojump_clock: object) -> None:
    registry, network = Registry(), MemoryNetwork()

    async def slow(stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep(0.25)
        await stream.send_message(EchoReply())

    hedging = {"maxAttempts": 3, "hedgingDelay": "0.1s"}
    config = {"methodConfig": [{"name": [{}], "hedgingPolicy": hedging}]}
    async with asking(registry) as world, open_server([One(slow)], listeners=[network]):
        async with open_channel(
            "there", dial=network.dial, registry=registry, service_config=config
        ) as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
                await trio.sleep(0.22)
                assert calls((await world.channel()).data) == (1, 0, 0)
            await trio.sleep(1)
            [subchannel] = await world.subchannels()
            assert calls(subchannel.data) == (3, 1, 2)
            assert calls((await world.channel()).data) == (1, 1, 0)
