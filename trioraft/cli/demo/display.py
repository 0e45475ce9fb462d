"""What the demo shows while it works: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["Display", "open_display"]

#: Seconds between two plain lines of progress.
_PAUSE = 1.0


class Display:
    """Events as lines; progress as a bar or, without a terminal, as a line per second."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console = console
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._started = self._last_line = trio.current_time()

    def say(self, text: str) -> None:
        """A line that stays, with the seconds since the start."""
        seconds = trio.current_time() - self._started
        line = Text.assemble((f"{seconds:5.1f} s", "dim"), f"  {text}")
        self._console.print(line, soft_wrap=True)

    def advance(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of the stage called `what`."""
        if self._progress is not None:
            if what not in self._bars:
                self._bars[what] = self._progress.add_task(what, total=total)
            self._progress.update(self._bars[what], completed=done)
            return
        if trio.current_time() - self._last_line >= _PAUSE:
            self._last_line = trio.current_time()
            self.say(f"{what}: {done} of {total}")


@contextmanager
def open_display(console: Console) -> Iterator[Display]:
    """A display for the length of the block; the bar is taken down at its end."""
    if not console.is_terminal:
        yield Display(console, None)
        return
    progress = Progress(
        TextColumn("{task.description:>18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with progress:
        yield Display(console, progress)
