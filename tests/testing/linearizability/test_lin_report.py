"""What people get to see of a violation, and how a history is recorded."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
import trio
import trio.testing
from lin_kit import drawn, op

from trioraft.testing.linearizability import (
    History,
    KeyValue,
    NotLinearizableError,
    Register,
    assert_linearizable,
    check,
)


def stale_read_in_the_crowd(seed: int, size: int = 400) -> list[object]:
    """One client writes 0, 1, 2..., others read the newest; one read is far too old."""
    rng = random.Random(seed)
    operations = []
    for number in range(size):
        time = 10.0 * number
        operations.append(op("writer", time, time + 4, "write", number))
        for reader in range(3):
            start = time + 5 + rng.random()
            seen = number - 100 if (reader, number) == (2, size - 10) else number
            operations.append(op(f"reader{reader}", start, start + 2, "read", None, seen))
    return operations


def test_the_report_names_the_few_operations_that_show_it() -> None:
    report = check(stale_read_in_the_crowd(1), Register())
    (violation,) = report.violations
    assert violation.stuck.process == "reader2"
    assert violation.stuck.result == 290
    excerpt = violation.excerpt
    assert len(excerpt.essential) <= 3
    # What is shown fails by itself, and stops failing when anything of it is missing.
    alone = [*excerpt.essential, *excerpt.origins]
    assert not check(alone, Register()).ok
    text = violation.text()
    assert "nothing explains 'read -> 290' of reader2" in text
    assert re.search(r"reader2 .*\|-+\| .*read -> 290 {2}<- impossible", text)
    assert len(text.splitlines()) < 16


def test_a_stale_read_is_drawn() -> None:
    report = check(drawn("|w1| |w2|\n          |r1|"), Register())
    assert report.text() == STALE_READ


STALE_READ = """\
not linearizable: 3 operations (0 of unknown outcome) on 1 objects

object None is not linearizable; 3 of its 3 operations show it:
  0.000000 to 3.000000: c0 write 1
  5.000000 to 8.000000: c0 write 2
  10.000000 to 13.000000: c1 read -> 1
nothing explains 'read -> 1' of c1.

  c0 |--|                 write 1
  c0       |--|           write 2
  c1             |--|     read -> 1  <- impossible"""


def test_a_page_is_written_with_the_error(tmp_path: Path) -> None:
    path = tmp_path / "violation.html"
    operations = stale_read_in_the_crowd(2)
    operations.append(op("<b>", 5.0, None, "write", "<script>"))
    with pytest.raises(NotLinearizableError, match=r"to look at: .*violation\.html"):
        assert_linearizable(operations, Register(), picture=path)
    page = path.read_text()
    assert page.count("class='stuck'") == 1
    assert page.count("<rect") > 40
    assert "<script>" not in page
    assert_linearizable([], Register(), picture=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_numbers_of_a_good_report() -> None:
    report = assert_linearizable(
        [op("a", 0, 1, "put", 1, key="x"), op("b", 0, None, "put", 2, key="y")], KeyValue()
    )
    assert report.text() == "linearizable: 2 operations (1 of unknown outcome) on 2 objects"


async def test_a_history_records_calls(autojump_clock: trio.testing.MockClock) -> None:
    history = History()
    with history.call("a", "write", 1, key="x") as call:
        await trio.sleep(1)
        call.ok()
    with pytest.raises(OSError, match="reset"), history.call("a", "write", 2, key="x"):
        raise OSError("reset")
    with history.call("b", "write", 3, key="x") as refused:
        refused.failed()
    with trio.move_on_after(1), history.call("b", "read", key="x"):
        await trio.sleep(5)
    with history.call("b", "read", key="x") as call:
        call.ok(1)
    under_way = history.begin("c", "read", key="x")
    seen = [(one.process, one.kind, one.argument, one.result) for one in history.operations]
    assert seen == [
        ("a", "write", 1, None),
        ("a", "write", 2, None),
        ("b", "read", None, None),
        ("b", "read", None, 1),
        ("c", "read", None, None),
    ]
    open_ = [one.returned is None for one in history.operations]
    assert open_ == [False, True, True, False, True]
    assert len(history) == 6
    assert_linearizable(history.operations, Register())
    under_way.ok(3)
    with pytest.raises(RuntimeError, match="has ended already"):
        under_way.ok(3)
    assert not check(history.operations, Register()).ok


def test_moments_differ_even_if_the_clock_stands_still() -> None:
    history = History(clock=lambda: 7.0)
    for number in range(3):
        history.begin("a", "write", number).ok()
    moments = [time for one in history.operations for time in (one.invoked, one.returned)]
    assert moments == sorted(frozenset(moments))


def test_a_history_is_bounded() -> None:
    history = History(clock=lambda: 0.0, limit=2)
    history.begin("a", "read")
    history.begin("a", "read")
    with pytest.raises(OverflowError, match="2 operations"):
        history.begin("a", "read")


def test_an_operation_takes_time() -> None:
    with pytest.raises(ValueError, match="takes time"):
        op("a", 2, 1, "read")
