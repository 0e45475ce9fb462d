"""The bytes of log records: there and back, one golden example, and what does not pass."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage.log.entries import POINT_STRIDE, decode_entry, decode_run, encode_entries
from trioraft.storage.log.record import (
    MARK_SIZE,
    MAX_TERM,
    BadRecordError,
    RecordType,
    SegmentHeader,
    decode_hard_state,
    decode_mark,
    decode_position,
    decode_seal,
    decode_segment_header,
    encode_hard_state,
    encode_mark,
    encode_position,
    encode_seal,
    encode_segment_header,
    record_at,
    salt_of,
)

SALT = salt_of(b"group", 7)
relaxed = settings(deadline=None)  # a busy machine is no failure
terms = st.integers(0, MAX_TERM)
indices = st.integers(-1, (1 << 63) - 1)
offsets = st.integers(0, (1 << 32) - 1)  # beyond, places repeat; no file is that long
sessions = st.builds(Session, st.binary(max_size=300), st.integers(-(1 << 63), (1 << 64) - 1))
log_entries = st.builds(
    Entry, terms, indices, st.sampled_from(EntryKind), st.binary(), st.none() | sessions
)
hard_states = st.builds(HardState, terms, st.none() | st.text())


def encoded(entries: list[Entry], offset: int = 0) -> tuple[bytes, list[int]]:
    parts: list[bytes] = []
    starts = []
    for entry in entries:
        starts.append(offset)
        offset = encode_entries([entry], SALT, offset, parts, [], 0)
    return b"".join(parts), starts


@relaxed
@given(st.lists(log_entries, max_size=5), offsets)
def test_entries_there_and_back(entries: list[Entry], offset: int) -> None:
    data, starts = encoded(entries, offset)
    found = []
    for start in starts:
        kind, body, end = record_at(data, start - offset, SALT, start)
        assert kind == RecordType.ENTRY
        found.append(decode_entry(data, body, end))
    assert found == entries


@relaxed
@given(hard_states, terms, indices, offsets, st.integers(0, (1 << 64) - 1))
def test_the_other_records_there_and_back(
    state: HardState, term: int, index: int, offset: int, synced: int
) -> None:
    record = encode_hard_state(state, SALT, offset)
    assert decode_hard_state(record, *record_at(record, 0, SALT, offset)[1:]) == state
    record = encode_position(RecordType.CUT, index, term, SALT, offset)
    assert decode_position(record, *record_at(record, 0, SALT, offset)[1:]) == (index, term)
    record = encode_mark(synced, SALT, offset)
    assert len(record) == MARK_SIZE
    assert decode_mark(record, *record_at(record, 0, SALT, offset)[1:]) == synced
    record = encode_seal(synced, SALT, offset)
    assert decode_seal(record, *record_at(record, 0, SALT, offset)[1:]) == synced
    header = SegmentHeader(7, index, term, state)
    record = encode_segment_header(header, SALT)
    assert decode_segment_header(record, *record_at(record, 0, SALT, 0)[1:]) == header


def test_golden_bytes() -> None:
    """The format is a promise: files of today are read by every later version."""
    data, _ = encoded([Entry(5, 9, EntryKind.WRITE, b"hi", Session(b"c", -2))], 64)
    assert data.hex(" ", -4) == (
        "bdeb99a3 27000000 06000209 00000000 00000005 00000000 00000000 00000000 "
        "00000001 00feffff ffffffff ff636869"
    )
    assert encode_mark(64, SALT, 64).hex(" ", -4) == (
        "0fd85885 10000000 02897379 6e636564 0a400000 00000000 00"
    )


@relaxed
@given(st.binary(max_size=200))
def test_no_bytes_pass_by_accident(data: bytes) -> None:
    with pytest.raises(BadRecordError):
        record_at(data, 0, SALT, 0)


@relaxed
@given(log_entries, st.data())
def test_any_changed_byte_is_noticed(entry: Entry, draw: st.DataObject) -> None:
    data, _ = encoded([entry])
    position = draw.draw(st.integers(0, len(data) - 1))
    changed = bytearray(data)
    changed[position] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(BadRecordError):
        record_at(bytes(changed), 0, SALT, 0)
    with pytest.raises(BadRecordError):
        record_at(data[:position], 0, SALT, 0)


@relaxed
@given(log_entries, offsets, offsets, st.integers(0, 100))
def test_a_record_passes_only_in_its_place(
    entry: Entry, offset: int, other: int, number: int
) -> None:
    data, _ = encoded([entry], offset)
    for salt, at in ((SALT, other), (salt_of(b"group", number), offset), (salt_of(b"", 7), offset)):
        if (salt, at) != (SALT, offset) and salt ^ at != SALT ^ offset:
            with pytest.raises(BadRecordError):
                record_at(data, 0, salt, at)


@relaxed
@given(st.lists(log_entries, max_size=30), offsets, st.integers(0, 40), st.booleans())
def test_a_run_is_decoded_as_its_records_are_one_by_one(
    some: list[Entry], offset: int, cut: int, marks: bool
) -> None:
    """Whole or cut short anywhere, with other records in between or without."""
    run = [replace(entry, index=5 + i) for i, entry in enumerate(some)]
    data, ends = b"", []
    for entry in run:
        if marks:
            data += encode_mark(1, SALT, offset + len(data))
            data += encode_hard_state(HardState(2, "n"), SALT, offset + len(data))
        parts: list[bytes] = []
        encode_entries([entry], SALT, offset + len(data), parts, [], 0)
        data += b"".join(parts)
        ends.append(len(data))
    data = data[: max(0, len(data) - cut)]
    found, at = decode_run(data, 0, offset, SALT, 5, 5 + len(run))
    whole = sum(end <= len(data) for end in ends)
    assert found == run[:whole]
    assert at >= (ends[whole - 1] if whole else 0)
    assert decode_run(data, 0, offset, SALT, 5, 5 + whole // 2)[0] == run[: whole // 2]


def test_points_come_at_a_stride() -> None:
    run = [Entry(1, i, EntryKind.WRITE, bytes(i % 700)) for i in range(500)]
    parts: list[bytes] = []
    points: list[tuple[int, int]] = []
    end = encode_entries(run, SALT, 100, parts, points, 0)
    assert points[0] == (0, 100)
    assert end == 100 + sum(map(len, parts))
    assert len(points) == (end - 100) // POINT_STRIDE + 1
    data = bytes(100) + b"".join(parts)
    for index, offset in points:
        assert decode_run(data, offset, 0, SALT, index, index + 1)[0] == [run[index]]
    assert min(b[1] - a[1] for a, b in pairwise(points)) >= POINT_STRIDE
    more: list[tuple[int, int]] = []
    encode_entries(run[:3], SALT, 0, [], more, 1)
    assert [index for index, _ in more] == [1]


@pytest.mark.parametrize(
    "entry",
    [
        Entry(-1, 0, EntryKind.WRITE, b""),
        Entry(MAX_TERM + 1, 0, EntryKind.WRITE, b""),
        Entry(1, 0, EntryKind.WRITE, b"", Session(b"c" * 65536, 0)),
        Entry(1, 0, EntryKind.WRITE, b"", Session(b"c", 1 << 64)),
        Entry(1, 0, EntryKind.WRITE, b"", Session(b"c", -(1 << 63) - 1)),
    ],
)
def test_what_does_not_fit_is_refused(entry: Entry) -> None:
    with pytest.raises(ValueError, match=r"limit|does not fit"):
        encoded([entry])


def test_a_file_of_another_format_is_named() -> None:
    header = encode_segment_header(SegmentHeader(1, -1, 0, HardState()), SALT)
    _, body, end = record_at(header, 0, SALT, 0)
    newer = header[: body + 8] + b"\3\0" + header[body + 10 :]
    with pytest.raises(BadRecordError, match="format 3; this version of trioraft reads 2"):
        decode_segment_header(newer, body, end)
    with pytest.raises(BadRecordError, match="not a log of trioraft"):
        decode_segment_header(b"x" * len(header), body, end)


@relaxed
@given(st.binary(max_size=80))
def test_bodies_that_pass_by_checksum_alone_raise_nothing_else(body: bytes) -> None:
    for decode in (
        decode_entry,
        decode_hard_state,
        decode_mark,
        decode_position,
        decode_seal,
        decode_segment_header,
    ):
        try:
            decode(body, 0, len(body))
        except BadRecordError:
            continue
