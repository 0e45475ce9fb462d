"""Seeded runs: the same seed is the same run, another seed is another interleaving."""

from __future__ import annotations

import pytest
import trio

from trioraft.testing.scheduler import SeededRun, SimulationStuckError, run_seeded
from trioraft.testing.trace import Trace


async def racing_tasks(run: SeededRun) -> str:
    """Tasks whose order only the scheduler decides."""

    async def worker(name: str) -> None:
        for step in range(20):
            run.trace.record(f"{name} {step}")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcde":
            nursery.start_soon(worker, name)
    return run.trace.hash()


def test_same_seed_same_run_other_seed_other_run() -> None:
    hashes = [run_seeded(racing_tasks, seed) for seed in (1, 2, 3, 1, 2, 3)]
    assert hashes[:3] == hashes[3:]
    assert len(set(hashes)) == 3


def test_time_is_virtual_and_starts_at_zero() -> None:
    async def main(run: SeededRun) -> float:
        assert trio.current_time() == 0.0
        await trio.sleep(1000.0)
        return trio.current_time()

    assert run_seeded(main, 0) == pytest.approx(1000.0)


def test_generators_are_independent_by_name() -> None:
    run = SeededRun(7)
    assert run.rng("disk").random() == run.rng("disk").random()
    assert run.rng("disk").random() != run.rng("network").random()
    assert run.rng("disk").random() != SeededRun(8).rng("disk").random()


def test_waiting_for_ever_is_reported() -> None:
    async def main(run: SeededRun) -> None:
        await trio.sleep_forever()

    with pytest.raises(SimulationStuckError, match=r"seed 3: not done after 60\.0 virtual"):
        run_seeded(main, 3, time_limit=60.0)


def test_spinning_is_reported() -> None:
    async def main(run: SeededRun) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(SimulationStuckError, match="some task spins"):
        run_seeded(main, 3, pass_limit=1000)


def test_errors_come_through_and_the_trace_survives() -> None:
    trace = Trace()

    async def main(run: SeededRun) -> None:
        await trio.sleep(2.0)
        run.trace.record("about to fail")
        raise KeyError("found")

    with pytest.raises(KeyError, match="found") as caught:
        run_seeded(main, 17, trace=trace)
    assert caught.value.__notes__ == ["in the simulated run of seed 17"]
    assert trace.lines == ["2.000000000 about to fail"]


def test_trio_is_left_as_it_was() -> None:
    core = trio._core._run
    before = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()
    run_seeded(racing_tasks, 1)
    assert (core._ALLOW_DETERMINISTIC_SCHEDULING, core._r.getstate()) == before


def test_trio_still_has_the_switch_that_seeded_runs_depend_on() -> None:
    """Fails here, by name, when a Trio release moves its private scheduling switch."""
    core = trio._core._run
    for name in ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r"):
        assert hasattr(core, name), f"Trio {trio.__version__} has no trio._core._run.{name}"
    source_names = core.unrolled_run.__code__.co_names
    assert "_ALLOW_DETERMINISTIC_SCHEDULING" in source_names, "Trio's run loop ignores the switch"


def test_a_trio_without_the_switch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    with pytest.raises(RuntimeError, match="_ALLOW_DETERMINISTIC_SCHEDULING"):
        run_seeded(racing_tasks, 1)


def test_trace_hash_covers_lines_it_no_longer_keeps() -> None:
    def run_with(first: str) -> Trace:
        trace = Trace(keep=2)

        async def main(run: SeededRun) -> None:
            for event in (first, "b", "c"):
                run.trace.record(event)

        run_seeded(main, 0, trace=trace)
        return trace

    one, other = run_with("a"), run_with("x")
    assert one.lines == other.lines == ["0.000000000 b", "0.000000000 c"]
    assert one.count == 3
    assert one.hash() != other.hash()


def test_trace_refuses_line_breaks() -> None:
    async def main(run: SeededRun) -> None:
        run.trace.record("two\nlines")

    with pytest.raises(ValueError, match="one line"):
        run_seeded(main, 0)
