"""HTTP/2 as bytes, right or wrong: frames, header blocks and gRPC's requests in them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UNARY = b"/trioraft.testing.Echo/Unary"
EXPAND = b"/trioraft.testing.Echo/Expand"
COLLECT = b"/trioraft.testing.Echo/Collect"
CHAT = b"/trioraft.testing.Echo/Chat"
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20
MAX_WINDOW = 2**31 - 1
Fields = Iterable[tuple[bytes, bytes]]


class Kind(IntEnum):
    """Frame types (RFC 9113 §6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """Error codes (RFC 9113 §7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class Set(IntEnum):
    """Settings (RFC 9113 §6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


def frame(kind: int, stream_id: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Any frame, right or wrong."""
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload
    )


def settings(values: dict[int, int] | None = None) -> bytes:
    """SETTINGS."""
    payload = b"".join(struct.pack(">HI", key, value) for key, value in (values or {}).items())
    return frame(Kind.SETTINGS, 0, payload)


def window_update(stream_id: int, amount: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(Kind.WINDOW_UPDATE, stream_id, struct.pack(">I", amount))


def rst_stream(stream_id: int, code: int = Code.CANCEL) -> bytes:
    """RST_STREAM."""
    return frame(Kind.RST_STREAM, stream_id, struct.pack(">I", code))


def data(stream_id: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    """DATA."""
    return frame(Kind.DATA, stream_id, payload, END_STREAM if end else 0)


def prefixed(body: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A gRPC message, whose prefix may lie."""
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An HPACK integer (RFC 7541 §5.1) of a `bits` prefix; `first` is the rest of its byte."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out = [first | most]
    value -= most
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def literal(name: bytes, value: bytes, *, index: bool = False) -> bytes:
    """A literal field without Huffman coding, with or without adding it to the dynamic table."""
    kind = b"\x40" if index else b"\x00"
    return kind + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(*fields: tuple[bytes, bytes]) -> bytes:
    """A header block of literals."""
    return b"".join(itertools.starmap(literal, fields))


def request_fields(path: bytes = CHAT, **changes: bytes | None) -> list[tuple[bytes, bytes]]:
    """The fields of a good request. `changes`: by name with `_` for `-`; None leaves it out."""
    fields: dict[str, bytes | None] = {
        "method": b"POST",
        "scheme": b"http",
        "path": path,
        "authority": b"x",
        "te": b"trailers",
        "content-type": b"application/grpc",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    pseudo = ("method", "scheme", "path", "authority")
    return [
        ((":" + name if name in pseudo else name).encode(), value)
        for name, value in fields.items()
        if value is not None
    ]


def headers(stream_id: int, fields: Fields, *, end: bool = False) -> bytes:
    """HEADERS with these fields."""
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(Kind.HEADERS, stream_id, block(*fields), flags)


_GOOD = {path: block(*request_fields(path)) for path in (UNARY, EXPAND, COLLECT, CHAT)}


def request(stream_id: int, path: bytes = CHAT, *, end: bool = False) -> bytes:
    """HEADERS of a good request."""
    return frame(Kind.HEADERS, stream_id, _GOOD[path], END_HEADERS | (END_STREAM if end else 0))
