"""The bytes of log records: there and back, one golden example, and what does not pass."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.raft.types import Entry, EntryKind, HardState, Session
from trioraft.storage.record import (
    MARK_SIZE,
    MAX_TERM,
    BadRecordError,
    RecordType,
    SegmentHeader,
    decode_entry,
    decode_hard_state,
    decode_mark,
    decode_position,
    decode_segment_header,
    encode_entries,
    encode_hard_state,
    encode_mark,
    encode_position,
    encode_segment_header,
    record_at,
    salt_of,
    valid_marks,
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
    starts = array("Q")
    end = encode_entries(entries, SALT, offset, parts, starts)
    data = b"".join(parts)
    assert end == offset + len(data)
    return data, list(starts)


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
@given(st.binary(), st.binary(), st.integers(0, 1000))
def test_marks_are_found_behind_rubbish(before: bytes, between: bytes, synced: int) -> None:
    data = before + encode_mark(synced, SALT, len(before)) + between
    second = len(data)
    data += encode_mark(3, SALT, second) + encode_mark(4, SALT, 0)[:-1]
    assert valid_marks(data, 0, SALT) == [(len(before), synced), (second, 3)]
    assert valid_marks(data, len(before) + 1, SALT) == [(second, 3)]


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
    newer = header[: body + 8] + b"\2\0" + header[body + 10 :]
    with pytest.raises(BadRecordError, match="format 2; this version of trioraft reads 1"):
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
        decode_segment_header,
    ):
        try:
            decode(body, 0, len(body))
        except BadRecordError:
            continue
