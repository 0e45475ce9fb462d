"""One channel per endpoint, opened and closed together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from trioraft.rpc import Limits, open_channel

from .endpoints import Endpoint, EndpointRing, parse_endpoints

__all__ = ["CHANNEL_LIMITS", "Dial", "open_ring"]

#: Opens a connection to a target: how tests and simulations hand in a network.
Dial = Callable[[str], Awaitable[trio.abc.Stream]]

#: A node that restarts is found again within a second; one that hangs is given up soon.
CHANNEL_LIMITS = Limits(
    connect_timeout=3.0, reconnect_min=0.05, reconnect_max=1.0, max_receive_message=64 << 20
)


@asynccontextmanager
async def open_ring(
    endpoints: str | Iterable[str],
    *,
    rng: random.Random,
    dial: Dial | None = None,
    limits: Limits = CHANNEL_LIMITS,
) -> AsyncIterator[EndpointRing]:
    """Channels to all endpoints, for the length of the block. They connect at their first call.

    Raises ConfigurationError for a malformed list.
    """
    async with AsyncExitStack() as stack:
        opened = []
        for target in parse_endpoints(endpoints):
            channel = await stack.enter_async_context(
                open_channel(
                    target,
                    limits=limits,
                    rng=rng,
                    dial=None if dial is None else partial(dial, target),
                )
            )
            opened.append(Endpoint(target, channel))
        yield EndpointRing(opened)
