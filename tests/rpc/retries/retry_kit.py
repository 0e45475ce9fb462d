"""What the tests of retry policies share: a service config, calls, and a server that fails."""

from __future__ import annotations

from typing import Any

from scripted_server import Request, Script

from trioraft.rpc import Cardinality, Channel, ClientStream, Encoded, Status

PATH = "/s.S/M"
KINDS = list(Cardinality)
UNARY, UPLOAD, CHAT = (
    Cardinality.UNARY_UNARY,
    Cardinality.STREAM_UNARY,
    Cardinality.STREAM_STREAM,
)


def config(throttling: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    """Three attempts after 1 s and 2 s (give or take 20%), on UNAVAILABLE."""
    found: dict[str, Any] = {
        "methodConfig": [
            {
                "name": [{"service": "s.S"}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "1s",
                    "maxBackoff": "30s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                    **policy,
                },
            }
        ]
    }
    if throttling is not None:
        found["retryThrottling"] = throttling
    return found


def call(channel: Channel, kind: Cardinality, **options: Any) -> ClientStream[Any, Any]:
    return channel.request(PATH, kind, Encoded, Encoded, **options)


async def converse(channel: Channel, kind: Cardinality = UNARY, **options: Any) -> list[bytes]:
    """Two requests where that is possible; all replies."""
    async with call(channel, kind, **options) as stream:
        await stream.send_message(Encoded(b"one"), end=not kind.client_streaming)
        if kind.client_streaming:
            await stream.send_message(Encoded(b"two"))
            await stream.end()
        return [reply async for reply in stream]


def failing(times: int, status: Status = Status.UNAVAILABLE, **options: Any) -> Script:
    """Fails the first `times` requests, answers the others."""

    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number < times:
            await request.fail(status, **options)
        else:
            await request.reply()

    return script
