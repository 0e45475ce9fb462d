"""An SSL context made from files, and made anew when they change.

Certificates live for days or weeks now; servers live longer. A context is never changed in place:
a new one takes its part for the handshakes to come, once it is whole. Files that cannot be used,
such as a certificate whose key has not been written yet, leave the old one where it is.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Sequence
from typing import TypeAlias

import trio

__all__ = ["Reloading", "StrPath"]

log = logging.getLogger(__name__)

StrPath: TypeAlias = "str | os.PathLike[str]"

# What tells one version of a file from the next; a file that is not there has None.
_Stamp: TypeAlias = "tuple[tuple[int, int, int] | None, ...]"


class Reloading:
    """The newest usable context of some files.

    files: those to watch. A link is followed: Kubernetes swaps the directory behind it.
    build: makes a context of them; raises OSError (ssl.SSLError is one) or ValueError.
    interval: seconds between two looks at the files, on Trio's clock; infinity for never.
    """

    def __init__(
        self, files: Sequence[StrPath], build: Callable[[], ssl.SSLContext], interval: float
    ) -> None:
        if not interval >= 0:
            raise ValueError("reload_interval must not be negative")
        self._files = [os.fspath(file) for file in files]
        self._build = build
        self._interval = interval
        self._stamp = self._look()
        self._context = build()
        self._next_look: float | None = None  # made before Trio runs, as a rule

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake, inside of Trio. Looks at the files if it is time to.

        That takes microseconds, and a few milliseconds if they have changed. Broken files are
        logged once, and again when they have changed again.
        """
        if self._interval != float("inf"):
            now = trio.current_time()
            if self._next_look is None or now >= self._next_look:
                self._next_look = now + self._interval
                self._refresh()
        return self._context

    def reload(self) -> None:
        """Read the files now, changed or not.

        Raises:
            OSError, ValueError: They cannot be used; the old ones stay.
        """
        self._stamp = self._look()
        self._context = self._build()

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp  # a look before the reading: a change in between is seen next time
        try:
            self._context = self._build()
        except (OSError, ValueError) as error:
            log.error("TLS files not reloaded, the old ones stay in use: %s", error)
        else:
            log.info("TLS files reloaded: %s", ", ".join(self._files))

    def _look(self) -> _Stamp:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
