"""Whole clusters whose machines fetch their snapshots from a store beside the cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from trioraft.machines.counter import CounterMachine
from trioraft.node import (
    Command,
    RuntimeSettings,
    SnapshotOffer,
    SnapshotPosition,
    SnapshotSink,
    SnapshotSource,
)
from trioraft.storage import StorageSettings
from trioraft.testing.counting import CounterWorkload
from trioraft.testing.simulation import Outcome, simulate

SETTINGS = RuntimeSettings(
    snapshot_after_entries=6,
    keep_entries=0,
    keep_entries_max=2,
    snapshot_retry_min=0.1,
    snapshot_retry_max=1.0,
    fetch_snapshots=True,
    storage=StorageSettings(segment_bytes=3000),
)
SECONDS = 4.0
# Those that leave somebody behind, or end a fetch in the middle.
FAULTS = (
    "crash",
    "leader crash",
    "power cut",
    "restart",
    "leader isolated",
    "link cut",
    "transfer",
    "membership",
    "snapshot",
)


class Store:
    """What an object store is to a real machine: states by the index of their last command.

    Slow, and away for every third who asks.
    """

    def __init__(self) -> None:
        self.states: dict[int, int] = {}
        self.asked = 0
        self.fetched = 0

    def put(self, index: int, value: int) -> None:
        assert self.states.setdefault(index, value) == value, f"two states at entry {index}"

    async def get(self, index: int) -> tuple[int, int]:
        self.asked += 1
        await trio.sleep(0.1)
        if self.asked % 3 == 0:
            raise OSError("the store is away")
        last = max(at for at in self.states if at <= index)
        self.fetched += 1
        return last, self.states[last]


class StoredCounter(CounterMachine):
    """Its snapshot is a reference: the state itself is in the store, and taken from there."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._last = -1

    async def apply(self, commands: Sequence[Command]) -> Sequence[bytes]:
        replies = await super().apply(commands)
        self._last = commands[-1].index
        return replies

    async def snapshot(self, sink: SnapshotSink) -> None:
        self._store.put(self._last, self.value)
        await sink.write(b"%d" % self._last)

    async def restore(self, source: SnapshotSource) -> None:
        self._last = int(await source.read())
        self.value = self._store.states[self._last] if self._last >= 0 else 0

    async def fetch_snapshot(self, offer: SnapshotOffer, sink: SnapshotSink) -> SnapshotPosition:
        last, _ = await self._store.get(offer.index)
        await sink.write(b"%d" % last)
        return SnapshotPosition(offer.index, offer.term)


def run(seed: int, settings: RuntimeSettings = SETTINGS) -> tuple[Outcome, Store]:
    store = Store()
    store.put(-1, 0)
    outcome = simulate(
        seed,
        new_machine=lambda: StoredCounter(store),
        workload=CounterWorkload(),
        seconds=SECONDS,
        clients=8,
        faults=FAULTS,
        settings=settings,
    )
    return outcome, store


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_or_counted_twice_by_machines_that_fetch() -> None:
    fetched = away = writes = 0
    for seed in range(6):
        outcome, store = run(seed)
        fetched += store.fetched
        away += store.asked - store.fetched
        writes += outcome.writes
    assert fetched >= 10, "runs in which nothing is fetched prove nothing"
    assert away >= 3
    assert writes > 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_with_fetched_snapshots_is_repeated_exactly() -> None:
    assert run(4)[0] == run(4)[0]
