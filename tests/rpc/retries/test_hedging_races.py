"""What happens to a hedged call in one and the same moment."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from scripted_server import RESPONSE, Request, scripted

from trioraft.rpc import Cardinality, Channel, Encoded, GRPCError, Limits, Status

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
