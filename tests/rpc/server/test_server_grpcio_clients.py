"""How grpcio takes what a server does with its connections: real sockets, real time."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT, UNARY, Echo, One, serving

from trioraft.rpc import ConnectionLifetime, ServerKeepalive, open_server

PATIENCE = 20


class Caller:
    """A grpcio channel, to be used from threads."""

    def __init__(self, target: str, **options: int) -> None:
        named = [(f"grpc.{name}", value) for name, value in options.items()]
        self.channel = grpc.insecure_channel(target, named)
        self._unary = self.channel.unary_unary(
            UNARY, EchoRequest.SerializeToString, EchoReply.FromString
        )
        self._chat = self.channel.stream_stream(
            CHAT, EchoRequest.SerializeToString, EchoReply.FromString
        )

    def ask(self, payload: bytes = b"x") -> bytes:
        reply = self._unary(EchoRequest(payload=payload), timeout=PATIENCE, wait_for_ready=True)
        answer: bytes = reply.payload
        return answer

    def chat(self, requests: Iterator[EchoRequest]) -> Any:
        return self._chat(requests, timeout=PATIENCE)


@pytest.fixture
def callers() -> Iterator[list[Caller]]:
    opened: list[Caller] = []
    yield opened
    for caller in opened:
        caller.channel.close()


async def in_thread(function: Any, *arguments: Any) -> Any:
    return await trio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True)


async def test_calls_survive_a_graceful_stop(callers: list[Caller]) -> None:
    async with open_server([Echo()], port=0) as server, trio.open_nursery() as nursery:
        caller = Caller(f"127.0.0.1:{server.addresses[0][1]}")
        callers.append(caller)
        requests: queue.Queue[EchoRequest | None] = queue.Queue()
        replies = caller.chat(iter(requests.get, None))
        requests.put(EchoRequest(payload=b"1"))
        assert (await in_thread(next, replies)).payload == b"1"
        nursery.start_soon(partial(server.stop, grace=PATIENCE))
        await trio.sleep(0.1)
        requests.put(EchoRequest(payload=b"2"))
        assert (await in_thread(next, replies)).payload == b"2"
        requests.put(None)
        assert await in_thread(list, replies) == []
        assert replies.code() is grpc.StatusCode.OK
        with trio.fail_after(5):
            await server.wait_stopped()


async def test_a_call_cut_off_is_unavailable(callers: list[Caller]) -> None:
    async with open_server([Echo()], port=0) as server:
        caller = Caller(f"127.0.0.1:{server.addresses[0][1]}")
        callers.append(caller)
        requests: queue.Queue[EchoRequest | None] = queue.Queue()
        replies = caller.chat(iter(requests.get, None))
        requests.put(EchoRequest(payload=b"1"))
        await in_thread(next, replies)
        await server.stop(grace=0)
        with pytest.raises(grpc.RpcError) as caught:
            await in_thread(next, replies)
        requests.put(None)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert caught.value.details() == "the server ends the call: the server is stopping"


async def test_no_call_fails_while_connections_reach_their_age(callers: list[Caller]) -> None:
    peers: list[str] = []

    async def note(stream: Any) -> None:
        peers.append(str(stream.peer))
        request = await stream.recv_message()
        await trio.sleep(0.02)
        await stream.send_message(EchoReply(payload=request.payload))

    lifetime = ConnectionLifetime(max_age=0.2, max_age_grace=PATIENCE)
    async with serving([One(note)], lifetime=lifetime) as address:
        caller = Caller(address)
        callers.append(caller)
        for index in range(40):
            payload = b"%d" % index
            assert await in_thread(caller.ask, payload) == payload
    assert 3 <= len(set(peers)) <= 15


async def test_a_client_that_pings_too_often(
    callers: list[Caller], caplog: pytest.LogCaptureFixture
) -> None:
    async def slow(stream: Any) -> None:
        await stream.recv_message()
        await trio.sleep_forever()

    options = {
        "keepalive_time_ms": 100,
        "keepalive_timeout_ms": 5000,
        "http2.max_pings_without_data": 0,
        "http2.min_time_between_pings_ms": 100,
        "keepalive_permit_without_calls": 1,
    }
    async with serving([One(slow)]) as address:
        caller = Caller(address, **options)
        callers.append(caller)
        with pytest.raises(grpc.RpcError) as caught:
            await in_thread(caller.ask)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "too many pings" in caught.value.details().lower().replace("_", " ")
    assert "closing: too many pings" in caplog.text


async def test_a_client_that_may_ping_so_often(callers: list[Caller]) -> None:
    async def slow(stream: Any) -> None:
        request = await stream.recv_message()
        await trio.sleep(1)
        await stream.send_message(EchoReply(payload=request.payload))

    keepalive = ServerKeepalive(min_interval=0.05, permit_without_calls=True)
    async with serving([One(slow)], keepalive=keepalive) as address:
        caller = Caller(
            address,
            **{"keepalive_time_ms": 100, "http2.max_pings_without_data": 0},
            keepalive_permit_without_calls=1,
        )
        callers.append(caller)
        assert await in_thread(caller.ask) == b"x"


async def test_the_servers_own_pings_are_answered(callers: list[Caller]) -> None:
    keepalive = ServerKeepalive(time=0.1, timeout=5)
    async with open_server([Echo()], port=0, keepalive=keepalive) as server:
        caller = Caller(f"127.0.0.1:{server.addresses[0][1]}")
        callers.append(caller)
        assert await in_thread(caller.ask) == b"x"
        await trio.sleep(1)
        assert server.connections == 1
        assert await in_thread(caller.ask) == b"x"
