"""Whatever becomes of streams and connections, a call without a policy reaches one handler."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
import trio.testing
from scripted_server import Request, scripted

from trioraft.rpc import Cardinality, Encoded, GRPCError, Limits, Status


@pytest.mark.parametrize("seed", range(12))
async def test_no_call_is_made_twice(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """A server refuses, leaves and breaks connections at random; each handler run is counted."""
    rng = random.Random(seed)
    handled: Counter[bytes] = Counter()
    latest: Counter[object] = Counter()  # the last stream of a connection that was looked at
    left: set[object] = set()
    refused = 0

    async def script(request: Request) -> None:
        nonlocal refused
        fate = rng.random()
        peer = request.connection
        if peer in left:
            return  # above the last one that it will look at
        if fate < 0.25:
            refused += 1
            await request.refuse()
        elif fate < 0.35:
            refused += 1
            left.add(peer)
            await request.leave(latest[peer])
            await trio.sleep(0.02)
            await peer.stream.aclose()
        else:
            await request.ended.wait()
            if peer in left:
                return
            latest[peer] = max(latest[peer], request.id)
            handled[request.messages[0]] += 1
            if fate < 0.45:
                await peer.stream.aclose()  # after the handler has run: nobody may repeat it
            else:
                await trio.sleep(rng.random() * 0.01)
                if not request.closed.is_set():
                    await request.reply(request.messages[0])

    answered = 0
    failures: Counter[Status] = Counter()
    limits = Limits(reconnect_min=0.01, reconnect_max=0.01)
    async with scripted(script, channel_limits=limits, wait_for_ready=True) as (channel, server):

        async def caller(name: int) -> None:
            nonlocal answered
            for index in range(25):
                message = b"%d/%d" % (name, index)
                kind = Cardinality.STREAM_UNARY if index % 2 else Cardinality.UNARY_UNARY
                try:
                    async with channel.request("/s/M", kind, Encoded, Encoded) as stream:
                        await stream.send_message(Encoded(message), end=True)
                        assert await stream.recv_message() == message
                        answered += 1
                except GRPCError as error:
                    failures[error.status] += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as callers:
            for name in range(4):
                callers.start_soon(caller, name)
        assert not any(call.calls for call in [channel.connector.ready] if call is not None)
    assert max(handled.values()) == 1
    assert answered + failures.total() == 100
    assert answered > 10
    assert refused > 10
    assert len(server.connections) > 2
    assert set(failures) <= {Status.UNAVAILABLE}
