"""Runs a Trio program so that the same seed gives the same run, step for step.

Three things make a Trio program unrepeatable: the real clock, the order in which the tasks of
a scheduler pass run, and randomness that is not seeded. `run_seeded` takes all three away: a
virtual clock that jumps to the next deadline as soon as every task waits, Trio's own
deterministic scheduling switch (there for Hypothesis), and random generators derived from
the seed by name. The order of tasks is still shuffled, so another seed is another
interleaving.

What stays with the program: no threads, no real sockets, no iteration over sets of objects,
no `id()`, `hash()` of strings, `time.time()`, `os.urandom()`. Trio itself delivers one
cancellation to several tasks in the order of a set; they then *run* in the order of the seed, so
this shows only if an abort function has side effects whose order matters.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
import trio.testing

from .trace import Trace

__all__ = ["SeededRun", "SimulationStuckError", "run_seeded"]

T = TypeVar("T")


class SimulationStuckError(Exception):
    """The program did not end: it waits for something that never comes, or spins in place.

    Run the same seed again under a debugger, or look at the end of the trace.
    """


@dataclass(frozen=True)
class SeededRun:
    """What a seeded program is handed: its seed, generators derived from it, and its trace."""

    seed: int
    trace: Trace = field(default_factory=Trace)

    def rng(self, name: str) -> random.Random:
        """A new generator for the part of the program called `name`.

        The same seed and name give the same numbers, whatever the other parts draw: a new
        draw in the network does not change what the disk does.
        """
        return _derive(self.seed, name)


def run_seeded(
    main: Callable[[SeededRun], Awaitable[T]],
    seed: int,
    *,
    time_limit: float = 3600.0,
    pass_limit: int = 100_000,
    trace: Trace | None = None,
) -> T:
    """Run `main(run)` to its end under a virtual clock, and return its result.

    The clock starts at 0.0 and never waits. `time_limit` is in virtual seconds; `pass_limit`
    bounds the scheduler passes in which no virtual time goes by. Raises SimulationStuckError
    when either is exceeded (after cancelling `main`), whatever `main` raises otherwise, and
    RuntimeError inside a Trio run or with a Trio release that lacks the deterministic switch.
    Every error carries a note that names the seed. Pass a `trace` to read it even after one.
    """
    run = SeededRun(seed) if trace is None else SeededRun(seed, trace)
    clock = trio.testing.MockClock(autojump_threshold=0)
    watchdog = _Watchdog(pass_limit)

    async def bounded() -> T:
        with trio.CancelScope(deadline=trio.current_time() + time_limit) as scope:
            watchdog.scope = scope
            return await main(run)
        if watchdog.tripped:
            raise SimulationStuckError(
                f"seed {seed}: {pass_limit} scheduler passes without any virtual time going by, "
                f"at {trio.current_time():.6f} s: some task spins"
            )
        raise SimulationStuckError(f"seed {seed}: not done after {time_limit} virtual seconds")

    with _deterministic_scheduling(_derive(seed, "scheduler")):
        try:
            return trio.run(bounded, clock=clock, instruments=[watchdog])
        except BaseException as error:
            error.add_note(f"in the simulated run of seed {seed}")
            raise


def _derive(seed: int, name: str) -> random.Random:
    # A string seed goes through SHA-512 in the standard library, so it does not depend on
    # PYTHONHASHSEED.
    return random.Random(f"{seed}/{name}")


class _Watchdog(trio.abc.Instrument):
    """Cancels a run that makes scheduler passes without any virtual time going by."""

    def __init__(self, limit: int) -> None:
        self.scope: trio.CancelScope | None = None
        self.tripped = False
        self._limit = limit
        self._passes = 0
        self._time = -1.0

    def before_io_wait(self, timeout: float) -> None:
        now = trio.current_time()
        if now != self._time:
            self._time = now
            self._passes = 0
            return
        self._passes += 1
        if self._passes == self._limit and self.scope is not None:
            self.tripped = True
            self.scope.cancel()


@contextmanager
def _deterministic_scheduling(rng: random.Random) -> Iterator[None]:
    """Switch Trio's scheduler to a seeded order, and back to what it was.

    The switch has no public name; it is what Trio's Hypothesis plugin turns on. A test of
    ours fails by name if a Trio release moves it.
    """
    core: Any = trio._core._run
    for name in ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r"):
        if not hasattr(core, name):
            raise RuntimeError(
                f"Trio {trio.__version__} has no trio._core._run.{name}: seeded runs need "
                "another way to fix the order of tasks with this release"
            )
    switch, state = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()
    core._ALLOW_DETERMINISTIC_SCHEDULING = True
    core._r.setstate(rng.getstate())
    try:
        yield
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING = switch
        core._r.setstate(state)
