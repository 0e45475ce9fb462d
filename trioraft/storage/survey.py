"""What is in a group's files, and where it is damaged: the eyes of `trioraft log`.

It changes nothing, needs no lock, and works on a directory in use: a file that compaction has
deleted meanwhile is no damage, and a verdict about a file that is being written to is only given
if it stands when it is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Entry, HardState, SnapshotMeta

from .filesystem import FileSystem
from .log.entries import decode_entry, entry_position
from .log.record import (
    HEAD,
    BadRecordError,
    RecordType,
    decode_hard_state,
    decode_segment_header,
    salt_of,
)
from .log.recovery import examine_log, segment_numbers
from .log.scan import examine_rest, scan
from .log.segments import segment_name
from .snapshots.container import BLOCK_BYTES, MAGIC, read_contents
from .snapshots.store import find_newest

__all__ = [
    "Damage",
    "SegmentSurvey",
    "SnapshotSurvey",
    "survey_segment",
    "survey_segments",
    "survey_snapshots",
    "verify_group",
]

Progress = Callable[[str], Any]
SeeEntry = Callable[[Entry, int, int], Any]
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are not what was written, or a file that is not where it should be."""

    file: str
    offset: int
    reason: str

    @classmethod
    def of(cls, error: CorruptionError) -> Damage:
        return cls(error.file, error.offset, error.reason)


@dataclass(slots=True)
class SegmentSurvey:
    """One file of a log, by itself. Entries that a later CUT or RESET replaced are counted too.

    used: bytes of good records, from the beginning; behind it is reserved space, a torn tail,
        or damage, which `trouble` tells of.
    terms: (term, first index, last index) of each run of entries in the file.
    """

    path: str
    number: int
    size: int
    used: int = 0
    records: int = 0
    entries: int = 0
    first: int | None = None
    last: int | None = None
    terms: list[tuple[int, int, int]] = field(default_factory=list)
    hard_state: HardState | None = None
    sealed: bool = False
    trouble: Damage | None = None


@dataclass(frozen=True, slots=True)
class SnapshotSurvey:
    """One snapshot; `meta` is None if its description cannot be read."""

    path: str
    size: int
    meta: SnapshotMeta | None
    trouble: Damage | None


def survey_segments(
    filesystem: FileSystem, folder: str, group_id: bytes, see: SeeEntry | None = None
) -> Iterator[SegmentSurvey]:
    """The files of a log, oldest first. Raises OSError."""
    for number in segment_numbers(filesystem, folder):
        try:
            yield survey_segment(filesystem, folder, group_id, number, see)
        except FileNotFoundError:
            continue  # compacted away since it was listed


def survey_segment(
    filesystem: FileSystem,
    folder: str,
    group_id: bytes,
    number: int,
    see: SeeEntry | None = None,
) -> SegmentSurvey:
    """Walk one file. `see(entry, offset, size of its record)` gets every entry. Raises OSError."""
    path = f"{folder}/{segment_name(number)}"
    salt = salt_of(group_id, number)
    file = filesystem.open(path)
    try:
        survey = SegmentSurvey(path, number, file.size())
        try:
            for offset, kind, data, body, stop in scan(file, salt, 0, survey.size):
                _count(survey, offset, kind, data, body, stop, see)
                survey.used = offset + HEAD.size + stop - body
        except BadRecordError as error:
            if not examine_rest(file, salt, survey.used, survey.size).blank:
                survey.trouble = Damage(path, survey.used, str(error))
    finally:
        file.close()
    if survey.used == 0 and survey.trouble is None:
        survey.trouble = Damage(path, 0, "the file does not begin with a segment header")
    return survey


def _count(
    survey: SegmentSurvey,
    offset: int,
    kind: int,
    data: bytes,
    body: int,
    stop: int,
    see: SeeEntry | None,
) -> None:
    survey.records += 1
    if kind == RecordType.ENTRY:
        _, index, term = entry_position(data, body, stop)
        survey.entries += 1
        survey.first = index if survey.first is None else min(survey.first, index)
        survey.last = index
        if survey.terms and survey.terms[-1][0] == term and survey.terms[-1][2] + 1 == index:
            survey.terms[-1] = (term, survey.terms[-1][1], index)
        else:
            survey.terms.append((term, index, index))
        if see is not None:
            see(decode_entry(data, body, stop), offset, HEAD.size + stop - body)
    elif kind == RecordType.HARD_STATE:
        survey.hard_state = decode_hard_state(data, body, stop)
    elif kind == RecordType.SEGMENT:
        survey.hard_state = decode_segment_header(data, body, stop).hard_state
    elif kind == RecordType.SEAL:
        survey.sealed = True


def survey_snapshots(
    filesystem: FileSystem, folder: str, *, deep: bool = False
) -> Iterator[SnapshotSurvey]:
    """The group's snapshots, oldest first; `deep` reads all of their data. Raises OSError."""
    for name in filesystem.list_directory(folder):
        if not name.endswith(".snapshot"):
            continue
        try:
            yield _survey_snapshot(filesystem, f"{folder}/{name}", deep)
        except FileNotFoundError:
            continue  # superseded since it was listed


def _survey_snapshot(filesystem: FileSystem, path: str, deep: bool) -> SnapshotSurvey:
    file = filesystem.open(path)
    meta: SnapshotMeta | None = None
    try:
        size = file.size()
        contents = read_contents(file, path)
        meta = contents.meta
        offset = len(MAGIC)
        checksums = iter(contents.checksums)
        for part in meta.files if deep else ():
            end = offset + part.size
            while offset < end:
                data = file.read(min(BLOCK_BYTES, end - offset), offset)
                if not data or crc32(data) != next(checksums):
                    raise CorruptionError(path, offset, f"checksum mismatch in {part.name!r}")
                offset += len(data)
    except CorruptionError as error:
        return SnapshotSurvey(path, size, meta, Damage.of(error))
    finally:
        file.close()
    return SnapshotSurvey(path, size, meta, None)


def verify_group(
    filesystem: FileSystem, folder: str, group_id: bytes, *, known: bool
) -> list[Damage]:
    """Read everything; what is wrong, as a start of the node would judge it. Raises OSError.

    known: the group has been registered, so it must have a log. A torn tail is no damage.
    """
    found: list[Damage] = []
    for attempt in range(_ATTEMPTS):
        again = _verify_once(filesystem, folder, group_id, known)
        if not again or (attempt and again == found):
            return again
        found = again
    return found


def _verify_once(filesystem: FileSystem, folder: str, group_id: bytes, known: bool) -> list[Damage]:
    if not filesystem.exists(folder):
        return [Damage(folder, 0, "the group's folder is missing: its vote is lost")]
    found: dict[tuple[str, int], Damage] = {}

    def add(damage: Damage | None) -> None:
        if damage is not None:
            found.setdefault((damage.file, damage.offset), damage)

    for snapshot in survey_snapshots(filesystem, folder, deep=True):
        add(snapshot.trouble)
    numbers = segment_numbers(filesystem, folder)
    if not numbers and not known:
        return list(found.values())  # begun and never used
    try:
        examine_log(filesystem, folder, group_id, find_newest(filesystem, folder))
    except CorruptionError as error:
        add(Damage.of(error))
        # It stopped at the first: look at every file by itself, too.
        for survey in survey_segments(filesystem, folder, group_id):
            is_tail = survey.number == numbers[-1] and survey.used > 0
            add(None if is_tail else survey.trouble)
    except FileNotFoundError:
        return [Damage(folder, 0, "files came and went while they were read")]
    return list(found.values())
