"""Power loss at random moments of random histories: what was acknowledged is there.

One round: recover, check against the model, then write batches, overwrite, roll files, take
snapshots, reset and compact, with group commits in random portions, until the power goes out in
the middle of any file operation. `SimDisk` then loses and tears what it may.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
import trio
from storage_kit import SteppedWriter, meta, open_on, read_snapshot

from trioraft.raft.errors import StorageError
from trioraft.raft.types import Entry, EntryKind, HardState, Session, SnapshotMeta
from trioraft.storage import FileStorage, PersistBatch, RecoveredState
from trioraft.testing.disk import SimDisk

BIG = 1 << 30


@dataclass(frozen=True)
class State:
    """The log and hard state after some record. `entries` begin after `base`."""

    hard_state: HardState = field(default_factory=HardState)
    base: tuple[int, int] = (-1, 0)
    entries: tuple[Entry, ...] = ()

    @property
    def last(self) -> int:
        return self.base[0] + len(self.entries)

    def term_at(self, index: int) -> int:
        after_base = index - self.base[0]
        return self.entries[after_base - 1].term if after_base else self.base[1]

    def keep(self, last: int) -> State:
        return replace(self, entries=self.entries[: last - self.base[0]])

    def steps(self, batch: PersistBatch) -> list[State]:
        """The states after each record of `batch`: a crash may leave any of them."""
        states = [self]
        if batch.hard_state is not None:
            states.append(replace(states[-1], hard_state=batch.hard_state))
        if batch.reset is not None:
            base = (batch.reset.index, batch.reset.term)
            states.append(replace(states[-1], base=base, entries=()))
        if batch.entries and batch.entries[0].index <= states[-1].last:
            states.append(states[-1].keep(batch.entries[0].index - 1))
        for entry in batch.entries:
            states.append(replace(states[-1], entries=(*states[-1].entries, entry)))
        return states[1:] or states

    def over(self, snapshot: SnapshotMeta | None) -> State:
        """As recovery sees it: a snapshot that the log does not contain restarts it."""
        if snapshot is None:
            return self
        in_log = self.base[0] <= snapshot.index <= self.last
        if in_log and self.term_at(snapshot.index) == snapshot.term:
            return self
        return replace(self, base=(snapshot.index, snapshot.term), entries=())

    def matches(self, found: RecoveredState, log: list[Entry]) -> bool:
        """Whether `found`, which may begin later because of compaction, is this state."""
        if found.hard_state != self.hard_state or found.last_index != self.last:
            return False
        if not self.base[0] <= found.base_index <= self.last:
            return False
        if found.base_term != self.term_at(found.base_index):
            return False
        return log == list(self.entries[found.base_index - self.base[0] :])


class History:
    """One disk and what must and may be on it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = SimDisk()
        self.states = [State()]  # the last acknowledged one, and everything that came after
        self.snapshots: list[SnapshotMeta | None] = [None]  # likewise
        self.contents: dict[tuple[int, int], bytes] = {}
        self.acknowledged = self.crashes = 0

    async def round(self) -> None:
        """Recover and check, then write until the power goes out or the process dies."""
        writer = SteppedWriter()
        storage = await open_on(
            self.disk,
            writer,
            segment_bytes=self.rng.choice((400, 1500)),
            preallocate_bytes=self.rng.choice((0, 300, 5000)),
        )
        await self.check(storage)
        self.disk.fail("*", 5, after=self.rng.randint(0, 60))
        try:
            for _ in range(100):
                await self.act(storage, writer)
        except StorageError:
            pass  # the power is gone
        self.disk.heal()
        if self.rng.random() < 0.7:
            self.disk.crash(self.rng)
            self.crashes += 1
        # Otherwise only the process was killed, and the next one finds what was not synced.

    async def check(self, storage: FileStorage) -> None:
        found = storage.recovered
        assert found.snapshot in self.snapshots
        log: list[Entry] = []
        if found.last_index > found.base_index:
            log = await storage.read(found.base_index + 1, found.last_index + 1, BIG)
        assert found.tail == log
        matching = [s for s in self.states if s.over(found.snapshot).matches(found, log)]
        assert matching, (found, self.states)
        if found.snapshot is not None:
            position = found.snapshot.index, found.snapshot.term
            assert await read_snapshot(storage, 100) == self.contents[position]
        self.snapshots = [found.snapshot]
        base = (found.base_index, found.base_term)
        self.states = [State(found.hard_state, base, tuple(log))]

    async def act(self, storage: FileStorage, writer: SteppedWriter) -> None:
        what = self.rng.choices(("persist", "commit", "snapshot", "install"), (8, 6, 1, 1))[0]
        if what == "persist":
            self.persist(storage, self.batch())
        elif what == "commit" and writer.jobs:
            writer.step(self.rng.randint(1, len(writer.jobs)))
        elif what == "snapshot":
            await self.compact(storage, writer)
        elif what == "install":
            last = self.states[-1].last + self.rng.randint(1, 20)
            snapshot = await self.snapshot(storage, last, self.term() + self.rng.randint(0, 1))
            hard_state = HardState(max(snapshot.term, self.states[-1].hard_state.term), None)
            if hard_state.term == self.states[-1].hard_state.term:
                hard_state = self.states[-1].hard_state
            self.persist(storage, PersistBatch(hard_state, (), snapshot))

    def term(self) -> int:
        return max(self.states[-1].hard_state.term, self.states[-1].term_at(self.states[-1].last))

    def batch(self) -> PersistBatch:
        """More entries, or a new term with or without a conflict, or a vote alone."""
        state, rng = self.states[-1], self.rng
        hard_state = None
        if rng.random() < 0.3:
            hard_state = HardState(
                self.term() + rng.choice((1, 1 << 100)), rng.choice((None, "n1"))
            )
        first, term = state.last + 1, hard_state.term if hard_state else self.term()
        snapshot = self.snapshots[-1]
        floor = max(state.base[0], -1 if snapshot is None else snapshot.index)
        if rng.random() < 0.2 and floor < state.last:
            first = rng.randint(floor + 1, state.last)
        entries = [
            Entry(
                term,
                i,
                EntryKind(rng.choice((0, 0, 3))),
                rng.randbytes(rng.choice((0, 9, 700))),
                rng.choice((None, Session(b"c", i))),
            )
            for i in range(first, first + rng.choice((0, 1, 1, 5)))
        ]
        return PersistBatch(hard_state, entries)

    def persist(self, storage: FileStorage, batch: PersistBatch) -> None:
        steps = self.states[-1].steps(batch)
        self.states += steps

        def done(error: BaseException | None) -> None:
            if error is None:  # nothing before the end of this batch may come back
                del self.states[: next(i for i, s in enumerate(self.states) if s is steps[-1])]
                self.acknowledged += 1

        storage.persist(batch, done)

    async def snapshot(self, storage: FileStorage, index: int, term: int) -> SnapshotMeta:
        data = self.rng.randbytes(self.rng.choice((0, 50, 3000)))
        snapshot = replace(meta(index, term), size=len(data))
        self.snapshots.append(snapshot)
        self.contents[index, term] = data
        async with storage.create_snapshot() as writer:
            await writer.write(data)
            assert await writer.commit(snapshot) == snapshot
        self.snapshots = [snapshot]
        return snapshot

    async def compact(self, storage: FileStorage, writer: SteppedWriter) -> None:
        """Snapshot of something acknowledged, then compaction, perhaps before it is asked for."""
        state = self.states[0]
        newest = self.snapshots[-1]
        low = max(state.base[0], -1 if newest is None else newest.index) + 1
        survives = min(s.last for s in self.states)
        if not low <= survives or any(s.base != state.base for s in self.states):
            return
        index = self.rng.randint(low, survives)
        term = state.term_at(index)
        if any(s.term_at(index) != term for s in self.states):
            return
        await self.snapshot(storage, index, term)
        storage.compact(index, term)


@pytest.mark.parametrize("block", range(10))
def test_what_was_acknowledged_survives_power_loss(block: int) -> None:
    acknowledged = crashes = 0
    for seed in range(block * 40, block * 40 + 40):
        history = History(seed)

        async def main(history: History = history) -> None:
            for _ in range(6):
                await history.round()
            await history.check(await open_on(history.disk, SteppedWriter()))

        try:
            trio.run(main)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        acknowledged += history.acknowledged
        crashes += history.crashes
    assert crashes > 120
    assert acknowledged > 500  # the histories did reach the disk
