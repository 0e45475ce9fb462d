"""Rust values as rmp-serde writes them, and the ids that everything else is made of.

Written positionally: a struct is an array of its fields, an enum variant a string or a map of
one entry, integers are as short as possible. Read tolerantly, as rmp-serde does: structs also
as maps, variants also by number. What rmp-serde accepts and nobody means is refused: trailing
bytes, negative numbers, fields that are missing or too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack

from trioraft.raft.types import NO_INDEX, NO_TERM

from .terms import MAX_U64, pack_term, unpack_term

__all__ = [
    "MAX_INDEX",
    "boolean",
    "integer",
    "log_id_value",
    "pack",
    "read_log_id",
    "read_vote",
    "reader",
    "struct",
    "unpack",
    "variant",
    "vote_value",
]

#: Indices are signed in trioraft.
MAX_INDEX = 2**63 - 1
_MAX_ITEMS = 1 << 16  # of one array or map; lists of entries and of bytes are read elsewhere

_packer = msgpack.Packer()


def pack(value: Any) -> bytes:
    """`value` as msgpack. Raises ValueError or OverflowError for what msgpack cannot hold."""
    data: bytes = _packer.pack(value)
    return data


@contextmanager
def reader(data: bytes, max_items: int = _MAX_ITEMS) -> Iterator[msgpack.Unpacker]:
    """An unpacker over one complete value. Raises ValueError for what is not exactly that."""
    unpacker = msgpack.Unpacker(
        None,
        raw=False,
        strict_map_key=False,
        max_buffer_size=max(len(data), 1),
        max_array_len=max_items,
        max_map_len=_MAX_ITEMS,
    )
    unpacker.feed(data)
    try:
        yield unpacker
    except msgpack.OutOfData:
        raise ValueError("msgpack deserialize: the value is cut short") from None
    except (msgpack.UnpackException, ValueError, TypeError) as error:
        raise ValueError(f"msgpack deserialize: {str(error) or type(error).__name__}") from error
    if unpacker.tell() != len(data):
        raise ValueError(f"msgpack deserialize: {len(data) - unpacker.tell()} trailing bytes")


def unpack(data: bytes, max_items: int = _MAX_ITEMS) -> Any:
    """The one value in `data`. Raises ValueError."""
    with reader(data, max_items) as unpacker:
        return unpacker.unpack()


def struct(value: Any, names: Sequence[str], required: int | None = None) -> list[Any]:
    """The fields of a struct, in the order of `names`; None for those after `required` if absent.

    Raises ValueError for a value of another shape, a missing field, or one field too many.
    """
    least = len(names) if required is None else required
    if isinstance(value, list):
        if len(value) == len(names):
            return value
        if not least <= len(value) <= len(names):
            raise ValueError(f"{len(value)} fields where ({', '.join(names)}) are expected")
        return value + [None] * (len(names) - len(value))
    if isinstance(value, dict):
        missing = [name for name in names[:least] if name not in value]
        if missing:
            raise ValueError(f"field {missing[0]!r} is missing")
        return [value.get(name) for name in names]
    raise ValueError(f"{type(value).__name__} where ({', '.join(names)}) are expected")


def variant(value: Any, names: Sequence[str]) -> tuple[str, Any]:
    """(name, content) of an enum value; the content of a unit variant is None."""
    content = None
    tag = value
    if isinstance(value, dict):
        if len(value) != 1:
            raise ValueError(f"a variant of {len(value)} entries")
        ((tag, content),) = value.items()
    if isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(names):
        tag = names[tag]
    if not isinstance(tag, str) or tag not in names:
        raise ValueError(f"variant {tag!r} where one of {', '.join(names)} is expected")
    return tag, content


def integer(value: Any, limit: int = MAX_U64) -> int:
    """An unsigned integer of at most `limit`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} where an integer is expected")
    if not 0 <= value <= limit:
        raise ValueError(f"{value} is not from 0 to {limit}")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{type(value).__name__} where a boolean is expected")
    return value


# ---- leader ids, log ids, votes


def _read_leader_id(value: Any) -> int:
    if isinstance(value, int):
        # leader_id_std, which writes a bare term in log ids: one leader per term.
        raise ValueError("a log id of openraft's single-term-leader mode, which is not spoken here")
    term, node = struct(value, ("term", "node_id"))
    # A term of 2^63 or more leaves no room to count on, and no cluster gets there by counting.
    return pack_term(integer(term, MAX_INDEX), integer(node))


def log_id_value(term: int, index: int) -> list[Any] | None:
    """[[term, node id], index]; None is "before the first entry"."""
    return None if index == NO_INDEX else [list(unpack_term(term)), index]


def read_log_id(value: Any) -> tuple[int, int]:
    """(packed term, index)."""
    if value is None:
        return NO_TERM, NO_INDEX
    leader, index = struct(value, ("leader_id", "index"))
    return _read_leader_id(leader), integer(index, MAX_INDEX)


def vote_value(term: int, *, committed: bool) -> list[Any]:
    """[[term, node id], committed]; a leader's vote is committed, a candidate's is not."""
    return [list(unpack_term(term)), committed]


def read_vote(value: Any) -> tuple[int, bool]:
    """(packed term, committed)."""
    leader, committed = struct(value, ("leader_id", "committed"))
    return _read_leader_id(leader), boolean(committed)
