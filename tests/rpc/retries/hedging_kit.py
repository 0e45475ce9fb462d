"""What the tests of hedging share: a policy, servers that answer or do not."""

from __future__ import annotations

from typing import Any

from scripted_server import Request


def config(throttling: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    """Up to three attempts, 1 s apart; UNAVAILABLE is not fatal."""
    hedging = {
        "maxAttempts": 3,
        "hedgingDelay": "1s",
        "nonFatalStatusCodes": ["UNAVAILABLE"],
        **policy,
    }
    found: dict[str, Any] = {"methodConfig": [{"name": [{}], "hedgingPolicy": hedging}]}
    if throttling is not None:
        found["retryThrottling"] = throttling
    return found


async def silent(request: Request) -> None:
    await request.closed.wait()


def answering(number: int) -> Any:
    """Answers one request, by its number, with that; is silent on the others."""

    async def script(request: Request) -> None:
        await request.ended.wait()
        if request.number == number:
            await request.reply(b"%d" % number)
        else:
            await silent(request)

    return script
