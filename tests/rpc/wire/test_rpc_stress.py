"""Many calls at once, cut short at random; mutated bytes: nothing hangs, leaks or falls over."""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo, MemoryNetwork

from trioraft.rpc import Channel, GRPCError, Limits, Status, open_channel, serve
from trioraft.rpc.server.connection import ServerConnection

LIMITS = Limits(
    max_concurrent_streams=30,
    stream_window=3_000,
    max_queued_bytes=2_000,
    max_receive_message=20_000,
    max_send_message=40_000,
)


ENDINGS = [Status.ABORTED, Status.NOT_FOUND, Status.INTERNAL]


class Slow(Echo):
    """An echo that takes its time, and now and then fails or ends early."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def Chat(self, stream: Any) -> None:
        async for request in stream:
            await trio.sleep(self._rng.random() * 0.01)
            await stream.send_message(EchoReply(payload=request.payload))
            if self._rng.random() < 0.02:
                raise GRPCError(self._rng.choice(ENDINGS), "at random")
            if self._rng.random() < 0.02:
                return


async def one_call(channel: Channel, rng: random.Random) -> None:
    """A call of a random kind and size that may end at any point in any way."""
    stub = EchoStub(channel)
    payload = bytes(rng.choice([0, 10, 1_000, 10_000, 30_000]))
    request = EchoRequest(payload=payload, count=rng.randrange(10))
    timeout = rng.choice([None, 0.001, 0.05, 5])
    with trio.move_on_after(rng.choice([0.0, 0.002, 0.05, 10])):
        kind = rng.randrange(4)
        if kind == 0:
            reply = await stub.Unary(request, timeout=timeout)
            assert reply.payload == payload
        elif kind == 1:
            replies = await stub.Expand(request, timeout=timeout)
            assert [len(reply.payload) for reply in replies] == [len(payload)] * request.count
        elif kind == 2:
            reply = await stub.Collect([request] * rng.randrange(5), timeout=timeout)
            assert len(reply.payload) % max(1, len(payload)) == 0
        else:
            async with stub.Chat.open(timeout=timeout) as stream:
                for _ in range(rng.randrange(1, 8)):
                    await stream.send_message(request)
                    if rng.random() < 0.5:
                        await stream.recv_message()
                    if rng.random() < 0.1:
                        await stream.cancel()
                        return
                await stream.end()


@pytest.mark.parametrize("seed", range(6))
async def test_calls_cut_short_at_random_leave_nothing_behind(
    seed: int,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    rng = random.Random(seed)
    servers: list[ServerConnection] = []
    original = ServerConnection.__init__

    def remember(self: ServerConnection, *args: Any) -> None:
        original(self, *args)
        servers.append(self)

    monkeypatch.setattr(ServerConnection, "__init__", remember)
    network = MemoryNetwork()
    outcomes: list[str] = []

    async def caller(channel: Channel) -> None:
        for _ in range(10):
            try:
                await one_call(channel, rng)
                outcomes.append("ended")
            except GRPCError as error:
                outcomes.append(error.status.name)
            await trio.sleep(rng.random() * 0.01)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Slow(rng)], listeners=[network], limits=LIMITS))
        async with open_channel("memory", dial=network.dial, limits=LIMITS) as channel:
            with trio.fail_after(600):
                async with trio.open_nursery() as callers:
                    for _ in range(40):
                        callers.start_soon(caller, channel)
                reply = await EchoStub(channel).Unary(EchoRequest(payload=b"still here"))
            assert reply.payload == b"still here"
            await trio.testing.wait_all_tasks_blocked()
            assert len(network.client_ends) == 1, "a call cost the connection"
            client, [server] = channel.connector.current, servers
            for connection in (client, server):
                assert connection.calls == {}
                assert connection.blocked == {}
                assert connection._reset_later == []
                # All but what one acknowledgement may still hold back is open again.
                window = connection.engine.local_window_size
                assert window > LIMITS.connection_window // 2
            assert server.running == 0
        nursery.cancel_scope.cancel()
    assert {"ended", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"} <= set(outcomes)
    assert "the handler failed" not in caplog.text


async def recorded_session() -> bytes:
    """What a client sends for a few calls of all kinds."""
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[network]))
        async with open_channel("memory", dial=network.dial) as channel:
            stub = EchoStub(channel)
            await stub.Unary(EchoRequest(payload=b"a" * 50), metadata={"k": "v"}, timeout=10)
            await stub.Expand(EchoRequest(payload=b"b", count=5))
            await stub.Collect([EchoRequest(payload=b"c")] * 5)
            await stub.Chat([EchoRequest(payload=b"d")] * 5)
        nursery.cancel_scope.cancel()
    return b"".join(network.client_ends[0].sends)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, drop, repeat or cut something."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(24 if rng.random() < 0.95 else 0, len(changed))
        length = rng.randrange(1, 20)
        action = rng.randrange(4)
        if action == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            del changed[at : at + length]
        elif action == 2:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at : at + length] = rng.randbytes(length)
    return bytes(changed)


async def test_mutated_sessions_end_their_connection_at_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = await recorded_session()
    rng = random.Random(2026)
    network = MemoryNetwork()
    limits = Limits(handshake_timeout=0.05)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[network], limits=limits))
        async with open_channel("memory", dial=network.dial) as channel:
            stub = EchoStub(channel)
            for _ in range(400):
                stream = await network.dial()
                try:
                    await stream.send_all(mutate(session, rng))
                    await trio.testing.wait_all_tasks_blocked()
                except trio.BrokenResourceError:
                    pass  # the server has closed it: as it should
                await stream.aclose()
                reply = await stub.Unary(EchoRequest(payload=b"ok"))
                assert reply.payload == b"ok"
        nursery.cancel_scope.cancel()
    assert "a connection failed" not in caplog.text
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
