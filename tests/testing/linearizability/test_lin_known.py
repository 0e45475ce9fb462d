"""Classical histories, good and bad, each a few lines that one can check by eye."""

from __future__ import annotations

import pytest
from lin_kit import brute_force, drawn, op

from trioraft.testing.linearizability import (
    Counter,
    KeyValue,
    ListAppend,
    Model,
    NotLinearizableError,
    Operation,
    Register,
    assert_linearizable,
    check,
)
from trioraft.testing.linearizability.search import search

GOOD = {
    "one after the other": """
|w1-| |r1-|
""",
    "a read beside a write sees the old or the new": """
|w1-|  |w2--------|
        |r1| |r2|
""",
    "two writes at once, in the order that the reads tell": """
|w1------|
 |w2----|  |r1|
""",
    "a write whose answer never came may have happened": """
|w1-| |w2--->
              |r2-|
""",
    "or may happen much later": """
|w1-| |w2--->
              |r1-| |r1-| |r2-|
""",
    "or never": """
|w1-| |w2--->
              |r1-| |r1-|
""",
    "a read may overtake the answer of the write it sees": """
|w1---------|
  |r1--|
""",
    "a chain of compare-and-set": """
|w1| |c12----|    |r3|
       |c23----|
""",
    "a refused compare-and-set met something else": """
|w1| |w2-----|
     |x13----| |r2|
""",
    "a refused compare-and-set on the untouched register needs the open write": """
|w1----------|
   |x_5| |r1|
""",
}

BAD = {
    "stale read": """
|w1| |w2|
          |r1|
""",
    "lost update: both believe they changed 1": """
|w1| |c12-|
     |c13--|
""",
    "split brain: two sides each with a value of its own": """
|w1----|
|w2----|
         |r1-| |r1-|
          |r2-| |r2-|
""",
    "a value that nobody wrote": """
|w1| |r7|
""",
    "from the new back to the old": """
|w1| |w2----------|
       |r2| |r1|
""",
    "an acknowledged write is gone": """
|w1|
     |r_|
""",
    "a read of the future": """
|r1|
     |w1|
""",
    "an unknown write cannot happen before it was asked for": """
     |w2-->
|r2|
""",
    "an unknown write happens once": """
|w1| |w2--->            |w3|
             |r2| |w1|        |r2|
""",
    "refused although it held the old value all the time": """
|w1| |x12|
""",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    operations = drawn(GOOD[name])
    assert brute_force(operations, Register())
    assert check(operations, Register()).ok


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_seen(name: str) -> None:
    operations = drawn(BAD[name])
    assert not brute_force(operations, Register())
    report = check(operations, Register())
    assert len(report.violations) == 1
    assert not report.undecided
    with pytest.raises(NotLinearizableError, match="is not linearizable"):
        assert_linearizable(operations, Register())


def judge(model: Model, *operations: Operation) -> bool:
    ok = check(operations, model).ok
    assert ok == brute_force(operations, model), "the definition disagrees"
    return ok


def test_keys_are_objects_of_their_own() -> None:
    put = op("a", 0, 1, "put", 1, key="x")
    assert judge(KeyValue(), put)
    report = check([put, op("b", 2, 3, "get", result=None, key="y")], KeyValue())
    assert (report.ok, report.objects, report.operations) == (True, 2, 2)
    report = check([put, op("b", 2, 3, "get", result=None, key="x")], KeyValue())
    assert [violation.key for violation in report.violations] == ["x"]


def test_deletes_and_transactions_of_a_key() -> None:
    put = op("a", 0, 1, "put", b"1")
    assert judge(KeyValue(), put, op("b", 2, 3, "delete", result=True))
    assert judge(KeyValue(), put, op("b", 2, 3, "delete", result=None))
    assert not judge(KeyValue(), put, op("b", 2, 3, "delete", result=False))
    swap = (b"1", (("put", b"2"), ("get",)), (("get",),))
    done, refused = (True, (None, b"2")), (False, (b"1",))
    assert judge(
        KeyValue(), put, op("b", 2, 3, "txn", swap, done), op("b", 4, 5, "get", None, b"2")
    )
    assert not judge(KeyValue(), put, op("b", 2, 3, "txn", swap, refused))
    assert not judge(
        KeyValue(), put, op("b", 2, 3, "txn", swap, done), op("c", 2, 4, "txn", swap, done)
    )
    blind = (b"0", (("put", b"9"),), ())
    assert judge(KeyValue(), put, op("b", 2, 3, "txn", blind, (False, ())))
    assert not judge(KeyValue(), put, op("b", 2, 3, "txn", blind, (True, (None,))))


def test_a_counter_counts_each_addition_once() -> None:
    first = op("a", 0, 2, "add", 5, 5)
    lost = op("b", 1, None, "add", 3)
    assert judge(Counter(), first, lost, op("c", 3, 4, "read", result=5))
    assert judge(Counter(), first, lost, op("c", 3, 4, "read", result=8))
    assert not judge(Counter(), first, lost, op("c", 3, 4, "read", result=11))  # applied twice
    assert not judge(Counter(), first, op("b", 3, 4, "add", 1, 5))


def appends(*reads: tuple[str, ...]) -> bool:
    """Judge `a` and `b` appended at once, then `c`, then these reads one after the other."""
    written = [
        op("p", 0, 2, "append", "a"),
        op("q", 1, 3, "append", "b"),
        op("p", 4, 5, "append", "c"),
    ]
    read = [op("r", 6 + 2 * n, 7 + 2 * n, "read", result=seen) for n, seen in enumerate(reads)]
    return check([*written, *read], ListAppend()).ok


def test_lists_tell_the_order_of_appends() -> None:
    assert appends(("a", "b", "c"))
    assert appends(("b", "a", "c"), ("b", "a", "c"))
    assert not appends(("a", "c", "b"))  # b had returned before c began
    assert not appends(("a", "b", "c"), ("b", "a", "c"))  # two orders
    assert not appends(("a", "c"))  # lost
    assert not appends(("a", "b", "b", "c"))  # applied twice
    assert not appends(("a", "b", "c", "d"))  # invented


def test_an_append_may_tell_the_length_after_it() -> None:
    first, lost = op("p", 0, 1, "append", "a", 1), op("p", 2, None, "append", "b")
    assert check([first, lost, op("p", 3, 4, "append", "c", 2)], ListAppend()).ok
    assert check([first, lost, op("p", 3, 4, "append", "c", 3)], ListAppend()).ok
    assert not check([first, lost, op("p", 3, 4, "append", "c", 1)], ListAppend()).ok


def test_reordered_appends_blame_the_read() -> None:
    report = check(
        [
            op("p", 0, 1, "append", "a"),
            op("p", 2, 3, "append", "b"),
            op("p", 4, 5, "append", "c"),
            op("q", 6, 7, "read", result=("b", "a", "c")),
            op("q", 8, 9, "read", result=("b", "a", "c")),
        ],
        ListAppend(),
    )
    (violation,) = report.violations
    assert violation.stuck.kind == "read"
    assert violation.stuck.invoked == 6


def test_lists_need_different_values() -> None:
    twice = [op("p", 0, 1, "append", "a"), op("p", 2, 3, "append", "a")]
    with pytest.raises(ValueError, match="different value"):
        check(twice, ListAppend())


@pytest.mark.parametrize("model", [Register(), KeyValue(), Counter(), ListAppend()])
def test_an_unknown_kind_is_an_error(model: Model) -> None:
    with pytest.raises(ValueError, match="has no operation 'fly'"):
        check([op("a", 0, 1, "fly")], model)


def test_the_order_found_is_told() -> None:
    operations = drawn(GOOD["two writes at once, in the order that the reads tell"])
    order = search(operations, Register()).order
    assert order is not None
    assert [(one.kind, one.argument) for one in order] == [
        ("write", 2),
        ("write", 1),
        ("read", None),
    ]


def test_nothing_is_linearizable() -> None:
    assert check([], Register()).ok


def test_too_hard_is_said_and_no_verdict() -> None:
    operations = [op(f"c{n}", n / 100, 10, "add", 3**n) for n in range(16)]
    operations.append(op("r", 9, 10.5, "read", result=3**17))
    report = check(operations, Counter(), limit=1000)
    assert (report.ok, report.violations, report.undecided) == (False, (), (None,))
    with pytest.raises(NotLinearizableError, match="undecided within the limit"):
        report.raise_if_not_ok()
