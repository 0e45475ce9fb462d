"""The container of a snapshot: its files one after another, then what they are.

    container = magic (8) | contents of the files | description (JSON) | block checksums | trailer
    trailer   = size of contents u64 | size of description u32 | blocks u32 | crc of both | own crc

The description comes last because it is known last: a snapshot is written in one pass. Every
MiB of a file, and its last piece, is a block with a CRC-32 of its own, so nothing is handed out
before it is checked, and damage is named by place. The checksum of a file is the CRC-32 of its
blocks' checksums. All numbers are little-endian. Synchronous and blocking.
"""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

from trioraft.raft.errors import CorruptionError
from trioraft.raft.types import Configuration, SnapshotFile, SnapshotMeta
from trioraft.storage.filesystem import File

__all__ = [
    "BLOCK_BYTES", "DATA_FILE", "MAGIC", "MAX_FILES", "Contents", "check_file_name",
    "describe_file",    "encode_end", "file_checksum", "read_contents", "with_files",
]  # fmt: skip

DATA_FILE = "state"
"""The file that bytes go to if their writer names none."""

MAX_FILES = 1024
"""Files in one snapshot."""

BLOCK_BYTES = 1 << 20
"""Bytes under one checksum."""

_TRAILER = struct.Struct("<QIII")
_CRC = struct.Struct("<I")
_END = _TRAILER.size + _CRC.size
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

MAGIC = b"TRsnap\x02\n"
"""What a container begins with; written last, so that a half-written one is none."""


class Contents(NamedTuple):
    """What a container holds: `meta` with its files, and their blocks' checksums in order."""

    meta: SnapshotMeta
    checksums: Sequence[int]


def check_file_name(name: str) -> str:
    """`name`, if a file of a snapshot may have it; ValueError if not.

    At most 128 ASCII letters, digits, dots, dashes and underscores, with no dot or dash first:
    safe as a file name on every system, and never a path.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:200]!r} cannot name a file of a snapshot")
    return name


def _pack(checksums: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(checksums)}I", *checksums)


def file_checksum(block_checksums: Sequence[int]) -> int:
    """The checksum of a file out of those of its blocks."""
    return crc32(_pack(block_checksums))


def describe_file(name: str, data: bytes) -> SnapshotFile:
    """Name, size and checksum of a file with these contents."""
    blocks = range(0, len(data), BLOCK_BYTES)
    checksum = file_checksum([crc32(data[start : start + BLOCK_BYTES]) for start in blocks])
    return SnapshotFile(name, len(data), checksum)


def encode_end(meta: SnapshotMeta, checksums: Sequence[int]) -> bytes:
    """What follows the contents; `meta` names the files, `checksums` are those of all blocks."""
    fields = {
        "index": meta.index,
        "term": str(meta.term),  # 128 bits: as text, for readers whose numbers are doubles
        "configuration": meta.configuration.encode().decode(),
        "configuration_index": meta.configuration_index,
        "files": [list(file) for file in meta.files],
    }
    description = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    both = description + _pack(checksums)
    trailer = _TRAILER.pack(meta.size, len(description), len(checksums), crc32(both))
    return both + trailer + _CRC.pack(crc32(trailer))


def read_contents(file: File, path: str) -> Contents:
    """Read and check the end of a container. Raises CorruptionError, OSError.

    What is read is bounded by the length of the file, whatever the trailer claims.
    """
    size = file.size()
    end = size - _END
    if end < len(MAGIC) or file.read(len(MAGIC), 0) != MAGIC:
        raise CorruptionError(path, 0, "not a snapshot of this version of trioraft")
    tail = file.read(_END, end)
    if len(tail) != _END or crc32(tail[:-4]) != _CRC.unpack(tail[-4:])[0]:
        raise CorruptionError(path, end, "checksum mismatch in the trailer")
    data_size, description_size, blocks, crc = _TRAILER.unpack(tail[:-4])
    start = len(MAGIC) + data_size
    if start + description_size + 4 * blocks != end:
        raise CorruptionError(path, end, f"{size} bytes do not match the trailer")
    both = file.read(end - start, start)
    if crc32(both) != crc:
        raise CorruptionError(path, start, "checksum mismatch in the description")
    try:
        meta = _decode_description(json.loads(both[:description_size]))
        checksums = array("I", struct.unpack(f"<{blocks}I", both[description_size:]))
        _check_files(meta, checksums)
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(path, start, f"the description cannot be read: {error}") from error
    if meta.size != data_size:
        raise CorruptionError(path, start, f"the files do not add up to {data_size} bytes")
    return Contents(meta, checksums)


def _decode_description(fields: Any) -> SnapshotMeta:
    files = tuple(SnapshotFile(check_file_name(n), int(s), int(c)) for n, s, c in fields["files"])
    return SnapshotMeta(
        fields["index"],
        int(fields["term"]),
        Configuration.decode(fields["configuration"].encode()),
        sum(file.size for file in files),
        fields["configuration_index"],
        files,
    )


def _check_files(meta: SnapshotMeta, checksums: Sequence[int]) -> None:
    names = {file.name for file in meta.files}
    if len(meta.files) > MAX_FILES or len(names) != len(meta.files):
        raise ValueError(f"{len(meta.files)} files with {len(names)} names")
    first = 0
    for file in meta.files:
        blocks = -(-file.size // BLOCK_BYTES)
        if file.size < 0 or file_checksum(checksums[first : first + blocks]) != file.checksum:
            raise ValueError(f"the checksum of {file.name} is not that of its blocks")
        first += blocks
    if first != len(checksums):
        raise ValueError(f"{len(checksums)} checksums for {first} blocks")


def with_files(meta: SnapshotMeta, files: Sequence[SnapshotFile]) -> SnapshotMeta:
    """`meta` of a snapshot of these files."""
    return replace(meta, size=sum(file.size for file in files), files=tuple(files))
