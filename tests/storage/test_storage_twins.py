"""What every `GroupStorage` does, on files as in memory."""

from __future__ import annotations

import pytest
import trio
from storage_kit import (
    MEMBERS,
    Answers,
    Twin,
    compact,
    entries,
    entry,
    meta,
    persist,
    take_snapshot,
)

from trioraft.raft.errors import StorageError
from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage import PersistBatch

BIG = 1 << 30


async def test_a_new_storage_is_empty(twin: Twin) -> None:
    found = twin.storage.recovered
    assert found.hard_state == HardState()
    assert found.snapshot is None
    assert (found.base_index, found.base_term, found.last_index) == (-1, 0, -1)
    assert (found.term_runs, found.configurations, found.tail) == ([], [], [])
    with pytest.raises(IndexError):
        await twin.storage.read(0, 1, BIG)


async def test_entries_come_back_as_they_were(twin: Twin) -> None:
    wide = (1 << 128) - 1
    written = [
        Entry(0, 0, EntryKind.BLANK, b""),
        Entry(1, 1, EntryKind.WRITE, b"\0\xff" * 50, Session(b"", 0)),
        Entry(1, 2, EntryKind.METADATA, b"m", Session(b"c" * 300, (1 << 64) - 1)),
        Entry(wide, 3, EntryKind.CONFIGURATION, MEMBERS.encode(), Session(b"c", -1)),
        Entry(wide, 4, EntryKind.WRITE, b"x", Session(b"\0", -(1 << 63))),
    ]
    await persist(twin.storage, written, hard_state=HardState(wide, "nœud"))
    assert await twin.storage.read(0, 5, BIG) == written
    found = (await twin.reopen()).recovered
    assert await twin.storage.read(0, 5, BIG) == written
    assert found.hard_state == HardState(wide, "nœud")
    assert found.last_index == 4
    assert found.term_runs == [(0, 0), (1, 1), (3, wide)]
    assert found.configurations == [written[3]]
    assert found.tail == written


async def test_entries_are_readable_before_they_are_durable(twin: Twin) -> None:
    answers = Answers()
    twin.storage.persist(PersistBatch(entries=entries(0, 10)), answers)
    twin.storage.persist(PersistBatch(entries=entries(5, 8, term=2)), answers)
    assert answers == []
    assert await twin.storage.read(3, 8, BIG) == entries(3, 5) + entries(5, 8, term=2)
    with pytest.raises(IndexError):
        await twin.storage.read(8, 9, BIG)
    await persist(twin.storage)
    assert answers == [None, None]


async def test_reads_join_what_is_on_disk_and_what_is_queued(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 100))
    twin.storage.persist(PersistBatch(entries=entries(90, 120, term=2)), Answers())
    assert await twin.storage.read(0, 120, BIG) == entries(0, 90) + entries(90, 120, term=2)


async def test_done_is_called_in_order_and_never_within_persist(twin: Twin) -> None:
    order: list[int] = []
    for number in range(20):
        batch = PersistBatch(entries=entries(number, number + 1))
        twin.storage.persist(batch, lambda _, number=number: order.append(number))
    assert order == []
    await persist(twin.storage)
    assert order == list(range(20))


async def test_a_conflicting_entry_replaces_the_rest_of_the_log(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 60))
    await persist(twin.storage, entries(10, 12, term=3))
    expected = entries(0, 10) + entries(10, 12, term=3)
    assert await twin.storage.read(0, BIG, BIG) == expected
    assert await (await twin.reopen()).read(0, BIG, BIG) == expected
    assert twin.storage.recovered.last_index == 11
    assert twin.storage.recovered.term_runs == [(0, 1), (10, 3)]
    await persist(twin.storage, entries(0, 1, term=4))  # and from the very first one
    assert await (await twin.reopen()).read(0, BIG, BIG) == entries(0, 1, term=4)


async def test_replaced_configurations_are_forgotten(twin: Twin) -> None:
    old = Entry(1, 1, EntryKind.CONFIGURATION, MEMBERS.encode())
    await persist(twin.storage, [entry(0), old, entry(2)])
    await persist(twin.storage, entries(1, 3, term=2))
    assert (await twin.reopen()).recovered.configurations == []


async def test_reads_keep_to_the_budget_but_return_at_least_one(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10, size=100))
    twin.storage.persist(PersistBatch(entries=entries(10, 20, size=100)), Answers())
    for low in (0, 8, 9, 10, 19):
        assert await twin.storage.read(low, 20, 1) == [entry(low, data=b"x" * 100)]
        assert await twin.storage.read(low, 20, 0) == [entry(low, data=b"x" * 100)]
    got = await twin.storage.read(5, 20, 700)
    assert got == entries(5, 5 + len(got), size=100)
    assert 4 <= len(got) <= 7


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (10, 11), (5, 5), (5, 2)])
async def test_reads_outside_the_log_are_refused(twin: Twin, low: int, high: int) -> None:
    await persist(twin.storage, entries(0, 10))
    with pytest.raises(IndexError):
        await twin.storage.read(low, high, BIG)


async def test_hard_state_survives_alone_and_through_many_files(twin: Twin) -> None:
    await persist(twin.storage, hard_state=HardState(1, "n2"))
    await persist(twin.storage, hard_state=HardState(2, None))
    assert (await twin.reopen()).recovered.hard_state == HardState(2, None)
    await persist(twin.storage, entries(0, 100, size=100), hard_state=HardState(7, "n3"))
    for index in range(100, 130):
        await persist(twin.storage, entries(index, index + 1, size=100))
    await take_snapshot(twin.storage, 125, b"")
    await compact(twin.storage, 125)
    assert (await twin.reopen()).recovered.hard_state == HardState(7, "n3")


async def test_reset_empties_the_log_and_moves_it(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 50))
    await take_snapshot(twin.storage, 1000, b"state", term=4)
    await persist(twin.storage, entries(1001, 1003, term=5), reset=meta(1000, 4))
    for _ in range(2):
        assert await twin.storage.read(1001, 2000, BIG) == entries(1001, 1003, term=5)
        with pytest.raises(IndexError):
            await twin.storage.read(1000, 1001, BIG)
        await twin.reopen()
    found = twin.storage.recovered
    assert (found.base_index, found.base_term, found.last_index) == (1000, 4, 1002)
    assert found.snapshot is not None
    assert (found.snapshot.index, found.snapshot.term) == (1000, 4)


async def test_a_reset_gives_the_space_of_the_old_log_back(twin: Twin) -> None:
    for index in range(60):
        await persist(twin.storage, entries(index, index + 1, size=100))
    await take_snapshot(twin.storage, 1000, b"")
    before = twin.storage.size_on_disk()
    await persist(twin.storage, reset=meta(1000))
    await persist(twin.storage, entries(1001, 1002))
    assert twin.storage.size_on_disk() < before / 2


async def test_a_snapshot_ahead_of_the_log_restarts_it_there(twin: Twin) -> None:
    """The crash between a follower's snapshot and its reset."""
    await persist(twin.storage, entries(0, 50))
    await take_snapshot(twin.storage, 80, b"", term=3)
    found = (await twin.reopen()).recovered
    assert (found.base_index, found.base_term, found.last_index) == (80, 3, 80)
    assert found.term_runs == []
    await persist(twin.storage, entries(81, 83, term=3))
    assert await (await twin.reopen()).read(81, 99, BIG) == entries(81, 83, term=3)


async def test_a_snapshot_of_another_term_within_the_log_restarts_it(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 50))
    await take_snapshot(twin.storage, 30, b"", term=3)
    found = (await twin.reopen()).recovered
    assert (found.base_index, found.base_term, found.last_index) == (30, 3, 30)


async def test_a_snapshot_within_the_log_leaves_it_alone(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 50))
    await take_snapshot(twin.storage, 30, b"")
    found = (await twin.reopen()).recovered
    assert (found.base_index, found.last_index) == (-1, 49)
    assert found.snapshot is not None
    assert found.snapshot.index == 30


async def test_compaction_drops_what_the_snapshot_covers_and_no_more(twin: Twin) -> None:
    for index in range(100):
        await persist(twin.storage, entries(index, index + 1, term=index // 10, size=100))
    full = twin.storage.size_on_disk()
    await compact(twin.storage, 80, 8)  # no snapshot: nothing may go
    assert await twin.storage.read(0, 1, BIG)
    await take_snapshot(twin.storage, 60, b"s", term=6)
    await compact(twin.storage, 80, 8)
    assert twin.storage.size_on_disk() < full * 0.6
    with pytest.raises(IndexError):
        await twin.storage.read(0, 1, BIG)
    found = (await twin.reopen()).recovered
    assert 30 <= found.base_index <= 60
    assert found.base_term == found.base_index // 10
    assert found.last_index == 99
    expected = [entry(i, i // 10, b"x" * 100) for i in range(found.base_index + 1, 100)]
    assert await twin.storage.read(found.base_index + 1, 100, BIG) == expected


@pytest.mark.parametrize(
    "batch",
    [
        PersistBatch(entries=entries(12, 13)),
        PersistBatch(entries=[entry(10), entry(12)]),
        PersistBatch(entries=[entry(10, 3), entry(11, 2)]),
        PersistBatch(entries=entries(10, 11, term=0)),
        PersistBatch(entries=entries(10, 11, term=1 << 128)),
        PersistBatch(entries=entries(4, 5), reset=meta(4)),
        PersistBatch(entries=entries(6, 7), reset=meta(4)),
        PersistBatch(reset=meta(5)),
        PersistBatch(hard_state=HardState(4)),
        PersistBatch(hard_state=HardState(1 << 128)),
        PersistBatch(hard_state=HardState(5, "n2")),
    ],
)
async def test_a_batch_that_would_break_the_log_changes_nothing(
    twin: Twin, batch: PersistBatch
) -> None:
    await persist(twin.storage, entries(0, 10), hard_state=HardState(5, "n1"))
    await take_snapshot(twin.storage, 4, b"")
    answers = Answers()
    with pytest.raises(ValueError, match=r"cannot follow|go back|would change|fit into|covers"):
        twin.storage.persist(batch, answers)
    await persist(twin.storage, entries(10, 11))
    assert answers == []
    found = (await twin.reopen()).recovered
    assert (found.last_index, found.hard_state) == (10, HardState(5, "n1"))


async def test_a_closed_storage_refuses_everything(twin: Twin) -> None:
    answers = Answers()
    twin.storage.persist(PersistBatch(entries=entries(0, 3)), answers)
    await twin.storage.aclose()
    assert answers == [None]  # closing waits for what was queued
    await twin.storage.aclose()
    with pytest.raises(StorageError):
        twin.storage.persist(PersistBatch(entries=entries(3, 4)), answers)
    with pytest.raises(StorageError):
        await twin.storage.read(0, 1, BIG)
    with pytest.raises(StorageError):
        twin.storage.compact(0, 1)
    with pytest.raises(StorageError):
        twin.storage.create_snapshot()


async def test_closing_is_finished_even_when_cancelled(twin: Twin) -> None:
    answers = Answers()
    twin.storage.persist(PersistBatch(entries=entries(0, 3)), answers)
    with trio.CancelScope() as scope:
        scope.cancel()
        await twin.storage.aclose()
    assert answers == [None]


async def test_compacting_at_another_term_is_refused(twin: Twin) -> None:
    await persist(twin.storage, entries(0, 10))
    with pytest.raises(ValueError, match="has term 1, not 2"):
        twin.storage.compact(5, 2)
