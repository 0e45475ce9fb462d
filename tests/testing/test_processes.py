"""Machines that stand still: none of their tasks runs, and the clock is ahead afterwards."""

from __future__ import annotations

import trio

from trioraft.testing.processes import Processes
from trioraft.testing.scheduler import SeededRun, run_seeded


async def count(ticks: list[float]) -> None:
    while True:
        await trio.sleep(1.0)
        ticks.append(trio.current_time())


def test_a_stopped_machine_runs_no_step() -> None:
    async def main(run: SeededRun) -> None:
        processes = Processes()
        ticks: dict[str, list[float]] = {"a": [], "b": []}
        async with trio.open_nursery() as nursery:

            async def machine(name: str) -> None:
                with processes.belongs(name):
                    async with trio.open_nursery() as inner:
                        inner.start_soon(count, ticks[name])

            nursery.start_soon(machine, "a")
            nursery.start_soon(machine, "b")
            await trio.sleep(2.5)
            processes.stop("a")
            processes.stop("a")
            assert processes.is_stopped("a")
            await trio.sleep(10.0)
            assert ticks["a"] == [1.0, 2.0]
            assert len(ticks["b"]) == 12
            processes.resume("a")
            await trio.sleep(0.01)
            assert ticks["a"] == [1.0, 2.0, 12.5], "it should find the clock ahead"
            await trio.sleep(1.2)
            assert ticks["a"][3:] == [13.5]
            nursery.cancel_scope.cancel()

    run_seeded(main, 1)


def test_a_machine_can_be_killed_only_after_it_goes_on() -> None:
    async def main(run: SeededRun) -> None:
        processes = Processes()
        ended: list[str] = []

        async def machine() -> None:
            with processes.belongs("a"):
                async with trio.open_nursery() as inner:
                    inner.start_soon(sleeper)

        async def sleeper() -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(machine)
            await trio.sleep(1)
            processes.stop("a")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            assert not ended
            processes.resume_all()
        assert ended == ["a"]

    run_seeded(main, 1)
