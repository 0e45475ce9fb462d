"""The demo's input: any text, CSV or JSON-lines file as a stream of key-value records."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trioraft.raft.errors import ConfigurationError

__all__ = ["MAX_VALUE", "Record", "Source", "default_input", "open_source"]

#: Bytes of one value; etcd's default limit for a request is 1.5 MiB.
MAX_VALUE = 1 << 20

#: Files of thousands of lines that come with every Python; the first one found is taken.
_SHIPPED = ("pydoc_data.topics", "_pydecimal", "turtle", "typing", "argparse")

_CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}
_JSON_SUFFIXES = {".jsonl", ".ndjson"}


@dataclass(frozen=True, slots=True)
class Record:
    """One write: the `number`th record of the input, from 0."""

    number: int
    key: bytes
    value: bytes


class Source:
    """A file to write into the cluster: how many records it has, and the records."""

    def __init__(self, path: Path, kind: str, count: int) -> None:
        self.path = path
        self.kind = kind
        self.count = count
        self.prefix = f"{path.name}:".encode()

    def key(self, number: int) -> bytes:
        """The key of a record: file name and row, padded so that keys sort like rows."""
        width = len(str(self.count))
        return self.prefix + f"{number + 1:0{width}d}".encode()

    def number(self, key: bytes) -> int:
        """The record that a key belongs to. Raises ValueError for a key that is not ours."""
        if not key.startswith(self.prefix):
            raise ValueError(f"not a key of this input: {key!r}")
        return int(key[len(self.prefix) :]) - 1

    def records(self) -> Iterator[Record]:
        """The records in the file's order, read as they are needed.

        Raises ConfigurationError naming the row that is no valid record.
        """
        for number, value in enumerate(_values(self.path, self.kind)):
            if len(value) > MAX_VALUE:
                raise ConfigurationError(
                    f"{self.path}: record {number + 1} has {len(value)} bytes; "
                    f"a value may have {MAX_VALUE}. Choose another file."
                )
            yield Record(number, self.key(number), value)


def open_source(path: Path | None) -> Source:
    """The user's file, or by default one that ships with Python; counts its records.

    Reads the file once. Raises ConfigurationError if it is empty or not what its suffix says, and
    OSError if it cannot be read.
    """
    path = path or default_input()
    kind = _kind(path)
    count = sum(1 for _ in _values(path, kind))
    if not count:
        raise ConfigurationError(f"{path}: nothing to write, the file is empty. Choose another.")
    return Source(path, kind, count)


def default_input() -> Path:
    """A source file of Python's own library. Raises ConfigurationError if none is there."""
    for name in _SHIPPED:
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            continue  # a Python without that package
        if spec is not None and spec.origin is not None and Path(spec.origin).is_file():
            return Path(spec.origin)
    raise ConfigurationError(
        "this Python has no source files of its library. Name a file with --input."
    )


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _CSV_SUFFIXES:
        return "csv"
    return "json" if suffix in _JSON_SUFFIXES else "text"


def _values(path: Path, kind: str) -> Iterator[bytes]:
    if kind == "csv":
        return _csv_values(path)
    return _json_values(path) if kind == "json" else _lines(path)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines as bytes, whatever their encoding."""
    with path.open("rb") as file:
        for line in file:
            yield line.rstrip(b"\r\n")


def _json_values(path: Path) -> Iterator[bytes]:
    """One JSON value per line; blank lines are skipped."""
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{path}: line {number} is not JSON: {error}") from error
        yield line


def _csv_values(path: Path) -> Iterator[bytes]:
    """A JSON object per row, by the names in the first row."""
    delimiter = _CSV_SUFFIXES[path.suffix.lower()]
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file, delimiter=delimiter, restkey="(more)")
        try:
            for row in reader:
                yield json.dumps(row, ensure_ascii=True).encode()
        except csv.Error as error:
            raise ConfigurationError(f"{path}: line {reader.line_num}: {error}") from error
