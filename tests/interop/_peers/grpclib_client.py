"""A client on grpclib's own asyncio runtime, in a process of its own.

Takes the same commands as `grpcio_client`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError

from .certificates import client_context
from .grpclib_style import Exchange
from .model import Call, Outcome, call_from, dumps, fields_of, loads


async def perform(channel: Channel, call: Call) -> Outcome:
    """Make one call and tell all that came of it."""
    start = time.monotonic()
    exchange = Exchange(channel, call, asyncio.sleep)
    try:
        async with asyncio.timeout(call.cancel_after) as cancelling:
            code, message = await exchange.run()
    except TimeoutError:
        code = "CANCELLED" if cancelling.expired() else "DEADLINE_EXCEEDED"
        message = "told by the client"
    except (OSError, StreamTerminatedError) as error:
        code, message = "UNAVAILABLE", str(error)
    return exchange.outcome(code, message, time.monotonic() - start)


def open_channel(target: str, directory: str | None) -> Channel:
    """A channel, with TLS if there is a directory with a certificate to trust."""
    scheme, _, rest = target.partition(":")
    if scheme == "unix":
        return Channel(path=rest)
    context = client_context(Path(directory)) if directory is not None else None
    if context is not None:
        context.set_alpn_protocols(["h2"])
    return Channel(scheme, int(rest), ssl=context)


async def main() -> None:
    """Carry out commands until stdin ends."""
    channels: dict[tuple[str, str | None], Any] = {}
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = loads(line)
        key = (command["target"], command["directory"])
        if key not in channels:
            channels[key] = open_channel(*key)
        calls = [call_from(fields) for fields in command["calls"]]
        outcomes = await asyncio.gather(*(perform(channels[key], call) for call in calls))
        print(dumps([fields_of(outcome) for outcome in outcomes]), flush=True)
    for channel in channels.values():
        channel.close()


if __name__ == "__main__":
    asyncio.run(main())
