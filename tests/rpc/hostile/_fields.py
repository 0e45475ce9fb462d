"""Attacks by header fields: floods of them, bombs of HPACK, and values that are no good."""

from __future__ import annotations

from collections.abc import Callable

from _attack import CALM, Attacks
from _attacker import Attacker
from _frames import (
    END_HEADERS,
    END_STREAM,
    UNARY,
    Kind,
    block,
    data,
    frame,
    headers,
    integer,
    literal,
    prefixed,
    request_fields,
)

ATTACKS = Attacks()

_GOOD = block(*request_fields(UNARY))


# ---- floods and bombs ----------------------------------------------------------------------------


@ATTACKS.add("CONTINUATION flood", CALM)
async def continuations(attacker: Attacker) -> None:
    """A header block that never ends."""
    await attacker.greet()
    await attacker.send(frame(Kind.HEADERS, 1, _GOOD))
    for number in range(10_000):
        await attacker.send(frame(Kind.CONTINUATION, 1, literal(b"a%d" % number, b"b")))
        attacker.attempts += 1


@ATTACKS.add("CONTINUATION flood of empty frames", CALM)
async def empty_continuations(attacker: Attacker) -> None:
    """A header block that never ends and has nothing in it."""
    await attacker.greet()
    await attacker.send(frame(Kind.HEADERS, 1, _GOOD))
    await attacker.send(frame(Kind.CONTINUATION, 1) * 10_000)


def _bomb(name: str, outcome: str, make: Callable[[int], bytes]) -> None:
    @ATTACKS.add(f"HPACK bomb: {name}", outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        for _ in range(40):
            stream_id = attacker.next_id()
            await attacker.send(_split(stream_id, make(attacker.attempts)))
            attacker.attempts += 1


def _split(stream_id: int, encoded: bytes) -> bytes:
    """A header block in frames of at most 16 KiB, its stream ended."""
    parts = [encoded[i : i + 16_384] for i in range(0, len(encoded), 16_384)]
    flags = [0] * (len(parts) - 1) + [END_HEADERS]
    kinds = [Kind.HEADERS] + [Kind.CONTINUATION] * (len(parts) - 1)
    flags[0] |= END_STREAM
    return b"".join(
        frame(kind, stream_id, part, flag)
        for kind, part, flag in zip(kinds, parts, flags, strict=True)
    )


def _references(attempts: int) -> bytes:
    """One entry fills the table; sixteen thousand references to it in each block."""
    entry = literal(b"bomb", b"x" * 4000, index=True) if not attempts else b""
    return _GOOD + entry + integer(62, 7, 0x80) * 16_000


_LIMITS = rf"(status 8|RST_STREAM \S+|status 8, RST_STREAM \S+|{CALM})"
_bomb("references to a large entry", _LIMITS, _references)
_bomb("20,000 small fields", _LIMITS, lambda _: _GOOD + literal(b"a", b"") * 20_000)
_bomb(
    "a field of 1 MiB",
    "(GOAWAY COMPRESSION_ERROR, )?closed",
    lambda _: _GOOD + literal(b"a", b"x" * (1 << 20)),
)
_bomb("100 KiB of fields", _LIMITS, lambda _: _GOOD + literal(b"a", b"x" * 1000) * 100)
_bomb("table resized in every block", _LIMITS + "|status 13", lambda _: b"\x20\x3f\xe1\x1f" + _GOOD)
_bomb(
    "table resized 5000 times in a block",
    r"GOAWAY COMPRESSION_ERROR, closed|status 13|" + CALM,
    lambda _: b"\x20" * 5000 + _GOOD,
)
_bomb(
    "table larger than allowed",
    "GOAWAY COMPRESSION_ERROR, closed",
    lambda _: integer(1 << 30, 5, 0x20) + _GOOD,
)
_bomb("reference to nothing", "GOAWAY COMPRESSION_ERROR, closed", lambda _: b"\xff\xff\xff\xff\x0f")
_bomb("an integer without end", "GOAWAY COMPRESSION_ERROR, closed", lambda _: b"\xff" * 9000)


# ---- values --------------------------------------------------------------------------------------


def _value(name: str, outcome: str, fields: list[tuple[bytes, bytes]]) -> None:
    @ATTACKS.add(name, outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        await attacker.send(headers(1, fields), data(1, prefixed(b""), end=True))
        attacker.attempts += 1


_REFUSED = "RST_STREAM PROTOCOL_ERROR"
_value("empty HEADERS", _REFUSED, [])
_value("wrong method: GET", "status HTTP 405", request_fields(UNARY, method=b"GET"))
_value("no content-type", "status HTTP 415", request_fields(UNARY, content_type=None))
_value("wrong content-type", "status HTTP 415", request_fields(UNARY, content_type=b"text/html"))
_value("no te", "status 0", request_fields(UNARY, te=None))
_value("te that HTTP/2 forbids", _REFUSED, request_fields(UNARY, te=b"gzip"))
_value("path that is no UTF-8", "status 12", request_fields(b"/\xff\xfe/\x80"))
_value("path of 15 KiB", "status 12", request_fields(b"/" + b"x" * 15_000))
_value("no path", _REFUSED, [f for f in request_fields(UNARY) if f[0] != b":path"])
_value("metadata that is no UTF-8", "status 0", request_fields(UNARY, x=b"\xff\xfe\x80"))
_value("metadata with a line break", _REFUSED, request_fields(UNARY, x=b"a\r\nb: c"))
_value("metadata with a zero byte", _REFUSED, request_fields(UNARY, x=b"a\0b"))
_value("metadata that is no base64", "status 0", request_fields(UNARY, x_bin=b"!!!!"))
_value("a field of HTTP/1: connection", _REFUSED, request_fields(UNARY, connection=b"close"))
_value("a pseudo field after others", _REFUSED, [*request_fields(UNARY), (b":path", b"/x")])
_value("a response's field: :status", _REFUSED, [(b":status", b"200"), *request_fields(UNARY)])
for _timeout in (b"99999999H", b"00000000H"):
    _value(
        f"grpc-timeout: {_timeout.decode()}",
        "status 0|status 4",
        request_fields(UNARY, grpc_timeout=_timeout),
    )
for _timeout in (
    b"9" * 1000 + b"H",
    b"-1S",
    b"1.5S",
    b"S",
    b"1 S",
    b"1x",
    b"\xb2S",
    b"0x1S",
    b"1_0S",
):
    _value(
        f"grpc-timeout: {_timeout[:12].decode('latin-1')}",
        "status 13",
        request_fields(UNARY, grpc_timeout=_timeout),
    )
