"""What the tests of openraft's messages share: terms, a group of one, bytes in hexadecimal."""

from __future__ import annotations

from trioraft.protocols.openraft.entries import read_entry
from trioraft.protocols.openraft.terms import pack_term
from trioraft.protocols.openraft.values import reader
from trioraft.raft.types import Configuration, Entry, Member

T52, T41, T63 = pack_term(5, 2), pack_term(4, 1), pack_term(6, 3)
ONE = Configuration((Member("1", "a:1"),))
STORED = "92 92 92 00 01 00 92 91 91 01 81 01 91 a3 61 3a 31"  # ONE at 0, as snapshots hold it


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def read_one(data: bytes) -> Entry:
    with reader(data) as unpacker:
        return read_entry(unpacker, data)
