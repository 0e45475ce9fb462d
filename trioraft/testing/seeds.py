"""Many seeds, in several processes: what `trioraft sim` and CI run.

A seed is run by one of two levels: `stack`, complete nodes on a simulated network and disks,
or `core`, the consensus core alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from .core_level import run_schedule
from .planted import BUGS
from .simulation import simulate_counter, simulate_kv
from .trace import Trace

__all__ = ["LEVELS", "Options", "SeedsReport", "replay", "run_seeds"]

LEVELS = ("stack", "core")
_CHUNK = {"stack": 4, "core": 100}  # seeds that a process takes at a time
_COUNTERS = (0, 1, 6, 7)  # of eight seeds, those with a counter; the others have keys
_LAST_LINES = 40  # of the trace of a seed that failed


@dataclass(frozen=True)
class Options:
    """How to run each seed.

    wire: peer dialect of the whole stack; by default the seed chooses. seconds: virtual time
    under load. plant: name of a bug of `testing.planted` to make.
    """

    level: str = "stack"
    wire: str | None = None
    seconds: float = 5.0
    plant: str | None = None


@dataclass
class SeedsReport:
    """What a number of seeds came to; `+=` adds another report.

    counts: what happened, by name, summed over the seeds. failures: (seed, what was broken,
    the last lines of its trace).
    """

    seeds: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str, list[str]]] = field(default_factory=list)

    def __iadd__(self, other: SeedsReport) -> SeedsReport:
        self.seeds += other.seeds
        self.counts.update(other.counts)
        self.failures += other.failures
        return self


def run_seeds(
    first: int,
    count: int | None,
    options: Options,
    *,
    jobs: int = 1,
    deadline: float | None = None,
) -> Generator[SeedsReport, None, None]:
    """Run `count` seeds from `first` on, in `jobs` processes; yields reports as they come.

    count: None for no end. deadline: on the clock of `time.monotonic`; no seed is begun after it.
    Closing the generator drops what has not begun and waits for the seeds that run.
    """
    end = None if count is None else first + count
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting: set[Future[SeedsReport]] = set()
        try:
            while True:
                while len(waiting) < 2 * jobs and (end is None or first < end):
                    if deadline is not None and time.monotonic() >= deadline:
                        break
                    stop = first + _CHUNK[options.level]
                    stop = stop if end is None else min(stop, end)
                    waiting.add(pool.submit(_run_chunk, range(first, stop), options))
                    first = stop
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def replay(seed: int, options: Options) -> tuple[SeedsReport, list[str]]:
    """Run one seed in this process; returns its report and its whole trace."""
    lines: list[str] = []
    return _run_chunk([seed], options, lines), lines


def _run_chunk(
    seeds: Sequence[int], options: Options, lines: list[str] | None = None
) -> SeedsReport:
    report = SeedsReport()
    bug = next((bug for bug in BUGS if bug.name == options.plant), None)
    with _quiet(), nullcontext() if bug is None else bug.planted():
        for seed in seeds:
            run = _run_core if options.level == "core" else _run_stack
            run(seed, options, report, lines)
            report.seeds += 1
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    """Nodes that crash and disks that fail are what is wanted here, not news."""
    logger = logging.getLogger("trioraft")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _run_core(seed: int, options: Options, report: SeedsReport, lines: list[str] | None) -> None:
    try:
        outcome = run_schedule(seed, say=None if lines is None else lines.append)
    except Exception as error:
        told: list[str] = []
        if lines is None:  # once more, with a trace this time
            _, told = replay(seed, options)
        report.failures.append((seed, explain(error), (lines or told)[-_LAST_LINES:]))
        return
    report.counts.update(
        entries=outcome.committed,
        leaderships=outcome.leaderships,
        reads=outcome.reads,
        crashes=outcome.crashes,
        **{"membership changes": outcome.changes},
    )


def _run_stack(seed: int, options: Options, report: SeedsReport, lines: list[str] | None) -> None:
    trace = Trace()
    try:
        run = simulate_counter if seed % 8 in _COUNTERS else simulate_kv
        outcome = run(seed, wire=options.wire, seconds=options.seconds, trace=trace)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise
        report.failures.append((seed, explain(group), _story(trace)))
    except Exception as error:
        report.failures.append((seed, explain(error), _story(trace)))
    else:
        report.counts.update(outcome.faults)
        report.counts.update(outcome.counts)
        report.counts.update(leaderships=outcome.leaderships, rests=outcome.rests)
    if lines is not None:
        lines += trace.lines


def _story(trace: Trace) -> list[str]:
    """The end of a trace without the segments of the network."""
    return [line for line in trace.lines if " net " not in line][-_LAST_LINES:]


def explain(error: BaseException) -> str:
    """The innermost errors in a line each, with where they were raised."""
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(dict.fromkeys(explain(child) for child in error.exceptions))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
