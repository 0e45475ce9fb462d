"""What the tests of the simulated network share: one connection, links of known speed, a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from trioraft.testing.network import LinkSettings, SimListener, SimNetwork, SimStream
from trioraft.testing.scheduler import SeededRun, run_seeded

INSTANT = LinkSettings(latency_min=0.0, latency_max=0.0)
STEADY = LinkSettings(latency_min=0.010, latency_max=0.010)


@asynccontextmanager
async def connected(
    run: SeededRun, settings: LinkSettings = STEADY
) -> AsyncIterator[tuple[SimNetwork, SimStream, SimStream]]:
    """A network with one connection from a client host "c" to a server "s:1"."""
    async with SimNetwork(run.rng("network"), settings, trace=run.trace) as network:
        listener = await network.listen("s:1")
        near, far = await join(network, listener)
        yield network, near, far


async def join(network: SimNetwork, listener: SimListener) -> tuple[SimStream, SimStream]:
    near = await network.dial("c", listener.address)
    return near, await listener.accept()


async def receive_exactly(stream: SimStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = await stream.receive_some(count - len(data))
        assert chunk, f"the stream ended after {len(data)} of {count} bytes"
        data += chunk
    return data


def simulated(
    test: Callable[[SeededRun], Awaitable[None]],
) -> Callable[[], None]:
    def runner() -> None:
        run_seeded(test, seed=1)

    runner.__name__ = test.__name__
    runner.__doc__ = test.__doc__
    return runner
