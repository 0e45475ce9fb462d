"""Standalone servers: they stop in good order when the system asks them to."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Collection
from typing import Any, Unpack

import trio

from .options import ServerOptions
from .service import Service
from .serving import open_server

__all__ = ["serve_until_signal"]

log = logging.getLogger(__name__)


async def serve_until_signal(
    services: Collection[Service],
    *,
    grace: float | None = 30.0,
    notice: float = 0.0,
    signals: Collection[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
    task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[ServerOptions],
) -> None:
    """Serve until one of `signals` comes, then stop as `Server.stop` does and return.

        trio.run(partial(serve_until_signal, [Greeter()], port=50051))

    A second signal ends the server at once, and so does cancelling. In Trio's main thread only,
    where signals arrive.

    Args:
        services, options, task_status: As for `serve`.
        grace, notice: As for `Server.stop`. Together they should be shorter than what the system
            grants between SIGTERM and SIGKILL: Kubernetes 30 s, systemd 90 s.

    Raises:
        OSError, TypeError, ValueError: As `open_server`.
    """
    with trio.open_signal_receiver(*signals) as received:
        async with open_server(services, **options) as server:
            task_status.started(server.addresses)
            log.info("%s: stopping", signal.Signals(await anext(received)).name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hurry, received, nursery.cancel_scope)
                await server.stop(grace, notice=notice)
                nursery.cancel_scope.cancel()


async def _hurry(received: AsyncIterator[int], scope: trio.CancelScope) -> None:
    log.warning("%s: stopping at once", signal.Signals(await anext(received)).name)
    scope.cancel()
