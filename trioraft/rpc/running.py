"""The first thing that goes wrong: no Trio."""

from __future__ import annotations

import trio

__all__ = ["need_trio"]


def need_trio(what: str) -> None:
    """Check that a Trio task is running; `what` is the public name that needs it.

    Without the check callers would see an AttributeError from the middle of Trio.

    Raises:
        RuntimeError: There is none; it says what to do.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(
            f"{what} needs a running Trio: begin the program with trio.run(main). "
            "asyncio does not run it"
        )
