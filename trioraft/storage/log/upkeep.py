"""What is done behind the writes of a log: later syncs, and the deletion of old files.

Nobody waits for it, so its failures go to `failed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from trioraft.storage.writer import DiskWriter

from .segments import LogFiles

__all__ = ["Upkeep"]


class Upkeep:
    """For one group, on the event loop. `failed` is called at most once per job.

    interval: seconds from a write to its sync; 0 if every write is synced, infinite for never.
    """

    def __init__(
        self,
        files: LogFiles,
        writer: DiskWriter,
        interval: float,
        failed: Callable[[BaseException], Any],
    ) -> None:
        self._files = files
        self._writer = writer
        self._interval = interval
        self._failed = failed
        self._flush_is_due = False
        self._stopped = False

    def written(self) -> None:
        """Something has been acknowledged: sync it within the interval."""
        if 0 < self._interval < math.inf and not self._flush_is_due and not self._stopped:
            self._flush_is_due = True
            self._writer.submit(self._flush, self._flushed, delay=self._interval)

    def delete(self, numbers: Sequence[int], done: Callable[[], Any] | None) -> None:
        """Delete files once all that is queued by now is durable, then call `done`.

        Perhaps a CUT or RESET that is still queued is the reason why nothing in them counts.
        """
        self._writer.submit(lambda: self._files, partial(self._delete, numbers, done))

    def stop(self) -> None:
        """Begin nothing more. What is queued already is carried out."""
        self._stopped = True

    def _flush(self) -> None:
        if not self._stopped:
            self._files.flush()

    def _flushed(self, error: BaseException | None) -> None:
        self._flush_is_due = False
        if error is not None:
            self._failed(error)

    def _delete(
        self,
        numbers: Sequence[int],
        done: Callable[[], Any] | None,
        error: BaseException | None,
    ) -> None:
        if error is None and numbers and not self._stopped:
            work = partial(self._files.delete, numbers)
            self._writer.submit(work, partial(self._deleted, done))
        else:
            self._deleted(done, error)

    def _deleted(self, done: Callable[[], Any] | None, error: BaseException | None) -> None:
        if error is not None:
            self._failed(error)
        elif done is not None:
            done()
