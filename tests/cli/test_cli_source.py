"""The demo's input: text, CSV, JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trioraft.cli.demo.load import Acknowledged
from trioraft.cli.demo.source import MAX_VALUE, Record, open_source
from trioraft.raft.errors import ConfigurationError


def write(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def values(path: Path) -> list[bytes]:
    return [record.value for record in open_source(path).records()]


def test_lines_of_text_are_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", b"one\r\n\ntw\xff\xfe\nlast")
    assert values(path) == [b"one", b"", b"tw\xff\xfe", b"last"]


def test_keys_name_the_file_and_sort_like_rows(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, "a.txt", b"x\n" * 120))
    keys = [record.key for record in source.records()]
    assert keys[0] == b"a.txt:001"
    assert keys[119] == b"a.txt:120"
    assert keys == sorted(keys)
    assert [source.number(key) for key in keys] == list(range(120))
    with pytest.raises(ValueError, match="not a key of this input"):
        source.number(b"other:1")


def test_rows_of_csv_are_objects(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'name,text\nAda,"two\nlines, quoted"\nBob,é\n'.encode())
    assert [json.loads(value) for value in values(path)] == [
        {"name": "Ada", "text": "two\nlines, quoted"},
        {"name": "Bob", "text": "é"},
    ]
    assert [json.loads(v) for v in values(write(tmp_path, "a.tsv", b"a\tb\n1\t2\t3\n"))] == [
        {"a": "1", "b": "2", "(more)": ["3"]}
    ]


def test_json_lines_are_checked(tmp_path: Path) -> None:
    assert values(write(tmp_path, "a.jsonl", b'{"a": 1}\n\n[2]\n')) == [b'{"a": 1}', b"[2]"]
    with pytest.raises(ConfigurationError, match="line 2 is not JSON"):
        open_source(write(tmp_path, "b.jsonl", b"1\n{\n"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the file is empty"):
        open_source(write(tmp_path, "empty", b""))


def test_a_value_beyond_the_limit_is_refused_by_row(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, "big", b"small\n" + b"x" * (MAX_VALUE + 1)))
    with pytest.raises(ConfigurationError, match="record 2 has 1048577 bytes"):
        list(source.records())


def test_the_default_is_a_file_of_thousands_of_lines() -> None:
    source = open_source(None)
    assert source.count > 2000
    assert sum(1 for _ in source.records()) == source.count


def test_what_was_acknowledged_is_remembered_by_digest() -> None:
    acknowledged = Acknowledged(3)
    acknowledged.add(Record(1, b"k", b"value"))
    assert acknowledged.count == 1
    assert [number in acknowledged for number in range(-1, 4)] == [
        False, False, True, False, False,
    ]  # fmt: skip
    assert acknowledged.matches(1, b"value")
    assert not acknowledged.matches(1, b"other")
