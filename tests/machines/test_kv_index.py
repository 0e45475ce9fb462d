"""The multi-version index: ranges of the present and the past, and forgetting."""

from __future__ import annotations

import pytest

from trioraft.machines.kv.index import Index, Version
from trioraft.machines.kv.store import range_end


def version(mod: int, number: int = 1) -> Version:
    return Version(mod, 0, mod, number, b"", 0)


def build(*writes: tuple[bytes, int, int]) -> Index:
    index = Index()
    for key, mod, number in writes:
        index.add(key, version(mod, number))
    return index


@pytest.mark.parametrize(
    ("key", "end", "found"),
    [
        (b"b", b"", [b"b"]),
        (b"bb", b"", []),
        (b"a", b"c", [b"a", b"b"]),
        (b"b", b"b", []),
        (b"c", b"a", []),
        (b"b", b"\0", [b"b", b"c", b"d"]),
        (b"\0", b"\0", [b"a", b"b", b"c", b"d"]),
        (b"c", b"d", [b"c"]),
    ],
)
def test_ranges(key: bytes, end: bytes, found: list[bytes]) -> None:
    index = build((b"c", 2, 1), (b"a", 3, 1), (b"d", 4, 1), (b"b", 5, 1))
    upper = range_end(end)
    assert [k for k, _ in index.walk(key, upper)] == found
    assert index.count(key, upper) == len(found)
    assert [k for k, _ in index.walk_at(key, upper, 9)] == found
    assert [k for k, _ in index.walk_at(key, upper, 3)] == [k for k in found if k in b"ac"]


def test_a_deleted_key_is_gone_now_and_there_in_the_past() -> None:
    index = build((b"a", 2, 1), (b"a", 3, 0), (b"b", 4, 1))
    assert [k for k, _ in index.walk(b"\0", b"")] == [b"b"]
    assert [k for k, _ in index.walk_at(b"\0", b"", 2)] == [b"a"]
    assert list(index.walk_at(b"\0", b"", 3)) == []
    assert index.newest(b"a") is None
    index.add(b"a", version(5))
    assert [k for k, _ in index.walk(b"\0", b"")] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("revision", "left"), [(1, [2, 3, 5]), (2, [2, 3, 5]), (3, [3, 5]), (4, [3, 5]), (9, [5])]
)
def test_forgetting_keeps_the_version_that_is_seen(revision: int, left: list[int]) -> None:
    index = build((b"a", 2, 1), (b"a", 3, 2), (b"a", 5, 3))
    index.forget(b"a", revision)
    assert [v.mod for v in index.history(b"a")] == left


def test_a_tombstone_is_forgotten_after_its_own_revision() -> None:
    index = build((b"a", 2, 1), (b"a", 3, 0))
    index.forget(b"a", 3)
    assert index.all_keys() == [b"a"]
    index.forget(b"a", 4)
    assert index.all_keys() == []
    assert len(index) == 0
