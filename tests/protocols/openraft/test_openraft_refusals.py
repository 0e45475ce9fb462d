"""openraft messages that no correct peer sends."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openraft_bytes import h

from trioraft.protocols.openraft.membership import read_membership
from trioraft.protocols.openraft.messages import decode_append, decode_transfer, decode_vote
from trioraft.protocols.openraft.snapshots import decode_snapshot_header
from trioraft.protocols.openraft.values import pack
from trioraft.rpc import GRPCError, Status


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "cut short"),
        ("94 92 92 05 02 c3 c0 90", "cut short"),
        ("94 92 92 05 02 c3 c0 90 c0 c0", "1 trailing bytes"),
        ("93 92 92 05 02 c3 c0 90", "deserialize"),
        ("94 92 92 05 02 c2 c0 90 c0", "not committed"),
        ("94 92 92 05 02 01 c0 90 c0", "boolean"),
        ("94 92 92 05 ff c3 c0 90 c0", "-1 is not from 0"),
        ("94 92 92 cf 80 00 00 00 00 00 00 00 02 c3 c0 90 c0", "is not from 0"),
        ("94 92 92 05 02 c3 92 92 05 02 ff 90 c0", "-1 is not from 0"),
        ("94 92 92 05 02 c3 c0 dd ff ff ff ff c0", "4294967295 entries"),
        ("94 92 92 05 02 c3 dd ff ff ff ff c0", "max_array_len"),
        ("94 92 92 05 02 c3 92 92 05 02 07 91 92 92 92 05 02 09 a5 42 6c 61 6e 6b c0", "9 where 8"),
        ("94 92 92 05 02 c3 c0 91 92 c0 a5 42 6c 61 6e 6b c0", "without a log id"),
        ("94 92 92 05 02 c3 c0 91 92 92 92 05 02 00 a6 4e 6f 72 6d 61 6c c0", "Normal without"),
        ("94 92 92 05 02 c3 c0 91 92 92 92 05 02 00 81 a1 58 c0 c0", "variant 'X'"),
        ("94 81 90 c0 c0 90 c0", "unhashable"),
    ],
)
def test_appends_that_are_refused(data: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_append(h(data))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([[[1, 1]], {1: ["a"]}], "named twice"),
        ([[[1, 2]], {1: ["a"]}], "voter 2 is not among"),
        ([[[]], {}], "at least one"),
        ([[[1], [1], [1]], {1: ["a"]}], "3 voter sets"),
        ([[[-1]], {-1: ["a"]}], "-1 is not from"),
        ([[["1"]], {"1": ["a"]}], "an integer is expected"),
        ([[[1]], {1: ["a", "b"]}], "2 fields"),
        ([[[1]], {1: [5]}], "node address"),
        ([{}, {}], "a list of sets"),
    ],
)
def test_memberships_that_are_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_membership(value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({0: [[5, 2], False]}, "not committed"),
        ({1: [None, [None, [[], {}]], "x"]}, "a snapshot of nothing"),
        ({1: [[[5, 2], 7], [[[5, 2], 8], [[], {}]], "x"]}, "membership 8"),
        ({2: -1}, "-1 is not from"),
    ],
)
def test_snapshot_headers_that_are_refused(change: dict[int, object], problem: str) -> None:
    fields: list[object] = [[[5, 2], True], [[[5, 2], 7], [None, [[], {}]], "x"], 3, None]
    for position, value in change.items():
        fields[position] = value
    with pytest.raises(ValueError, match=problem):
        decode_snapshot_header(pack({"Header": fields}))


def test_incremental_snapshots_are_refused() -> None:
    fields = [[[5, 2], True], [[[5, 2], 7], [None, [[], {}]], "x"], 3, 99]
    with pytest.raises(GRPCError) as raised:
        decode_snapshot_header(pack({"Header": fields}))
    assert raised.value.status is Status.UNAVAILABLE


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"\x94\x00\xd2\x00\x00\x00\x00\x91")  # ends where an entry begins
def test_noise_is_refused_by_a_value_error_or_read(data: bytes) -> None:
    for decode in (decode_append, decode_vote, decode_transfer):
        try:
            decode(data)
        except ValueError:
            continue


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="deserialize"):
        decode_vote(b"\x91" * 100_000)
