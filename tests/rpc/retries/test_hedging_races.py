"""What happens to a hedged call in one and the same moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from scripted_server import RESPONSE, Request, scripted

from trioraft.rpc import Cardinality, Channel, ClientCall, Encoded, GRPCError, Limits, Status

HEDGING = {
    "methodConfig": [
        {
            "name": [{"service": "s.S"}],
            "hedgingPolicy": {
                "maxAttempts": 3,
                "hedgingDelay": "1s",
                "nonFatalStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


async def once(channel: Channel, path: str) -> list[Any]:
    async with channel.request(path, Cardinality.UNARY_STREAM, Encoded, Encoded) as stream:
        await stream.send_message(Encoded(b"one"), end=True)
        return [reply async for reply in stream]


@pytest.mark.parametrize("outcome", ["answer", "failure"])
async def test_a_stream_is_free_just_as_the_call_is_settled(
    outcome: str, autojump_clock: trio.testing.MockClock
) -> None:
    """One read brings the end of another call, whose stream the second attempt has waited for,
    and the outcome of the first attempt. The stream goes to whoever waits after it."""
    requests: list[Request] = []
    ended: list[object] = []

    async def script(request: Request) -> None:
        requests.append(request)
        await request.closed.wait()

    async def call(path: str) -> None:
        try:
            ended.append(await once(channel, path))
        except GRPCError as error:
            ended.append(error.status)

    limits = Limits(max_concurrent_streams=2)
    opened = scripted(script, limits=limits, service_config=HEDGING)
    async with opened as (channel, _), trio.open_nursery() as nursery:
        nursery.start_soon(call, "/other.S/M")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(call, "/s.S/M")
        await trio.sleep(1.5)
        nursery.start_soon(call, "/other.S/Waits")
        await trio.sleep(1)
        other, first = requests
        engine = first.connection.engine
        engine.send_response(other.id, [*RESPONSE, (b"grpc-status", b"2")], end_stream=True)
        if outcome == "answer":
            engine.send_response(first.id, RESPONSE)
            engine.send_data(first.id, b"\0\0\0\0\2ok")
        else:
            engine.send_response(first.id, [*RESPONSE, (b"grpc-status", b"3")], end_stream=True)
        await first.connection.flush()
        await trio.sleep(10)
        assert [each.headers[b":path"] for each in requests[2:]] == [b"/other.S/Waits"]
        if outcome == "answer":
            await first.end()
        await requests[2].reply(b"waited")
        await trio.sleep(1)
        settled = [b"ok"] if outcome == "answer" else Status.INVALID_ARGUMENT
        assert ended == [Status.UNKNOWN, settled, [b"waited"]]
        assert channel.connector.ready is not None
        assert not channel.connector.ready.calls


async def test_what_replaces_a_refused_attempt_has_its_number_and_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first of two attempts is refused while the second is under way."""
    heard: list[tuple[str, int]] = []

    class Observer:
        def started(self, number: int, transparent: bool) -> None:
            heard.append(("again" if transparent else "begins", number))

        def ended(self, number: int, status: Status) -> None:
            heard.append((status.name, number))

    @asynccontextmanager
    async def observed(call: ClientCall) -> AsyncIterator[None]:
        assert call.observe_attempts(Observer())
        yield

    async def script(request: Request) -> None:
        await trio.sleep(1.5)
        if request.number == 0:
            await request.refuse()
        elif request.number == 2:
            await request.reply()
        else:
            await request.closed.wait()

    opened = scripted(script, service_config=HEDGING, interceptors=[observed])
    async with opened as (channel, server):
        assert await once(channel, "/s.S/M") == [b"ok"]
    previous = [each.headers.get(b"grpc-previous-rpc-attempts") for each in server.requests]
    assert previous == [None, b"1", None, b"2"]
    begun = [("begins", 1), ("begins", 2), ("UNAVAILABLE", 1), ("again", 1), ("begins", 3)]
    assert heard == [*begun, ("CANCELLED", 2), ("CANCELLED", 3), ("OK", 1)]
