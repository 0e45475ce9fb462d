"""Accepting connections, whatever the system is short of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import trio

__all__ = ["accept_connections"]

log = logging.getLogger(__name__)

#: Seconds to wait after the first failure; twice as long after each further one, up to the second.
PAUSE_MIN, PAUSE_MAX = 0.005, 1.0
#: Seconds between two lines in the log about the same shortage.
SAY_EVERY = 10.0


async def accept_connections(
    listener: trio.abc.Listener[Any], name: str, arrived: Callable[[Any], None]
) -> None:
    """Hand each connection to `arrived`, until cancelled. Closes the listener.

    A connection that cannot be accepted is left waiting or is gone, and no reason to stop: when
    file descriptors or memory are used up (EMFILE, ENFILE, ENOBUFS, ENOMEM), those who are
    served give some back.

    Raises:
        trio.ClosedResourceError: Somebody else has closed the listener.
    """
    pause = PAUSE_MIN
    say_at = float("-inf")
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                now = trio.current_time()
                if now >= say_at:
                    log.error("%s: cannot accept connections for now: %s", name, error)
                    say_at = now + SAY_EVERY
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX)
            else:
                pause = PAUSE_MIN
                arrived(stream)
