"""Attacks that abuse the life of streams: resets, made resets, ids out of order."""

from __future__ import annotations

import struct
from collections.abc import Callable

from _attack import CALM, Attacks, flood
from _attacker import Attacker
from _frames import (
    MAX_WINDOW,
    UNARY,
    Kind,
    data,
    frame,
    headers,
    prefixed,
    request,
    request_fields,
    rst_stream,
    window_update,
)

ATTACKS = Attacks()

# More streams than any budget of the defaults allows.
_STREAMS = 24_000


@ATTACKS.add("rapid reset (CVE-2023-44487)", CALM)
async def rapid_reset(attacker: Attacker) -> None:
    """Open a stream, reset it, and again."""

    def one() -> bytes:
        stream_id = attacker.next_id()
        return request(stream_id) + rst_stream(stream_id)

    await flood(attacker, one, _STREAMS)


# ---- MadeYouReset (CVE-2025-8671): errors on streams make the server reset them ------------------


# Most of these are errors of the connection for our HTTP/2 engine, which RFC 9113 §5.4.2 allows:
# the second stream is never looked at. The others draw on a budget.
_MADE = r"(RST_STREAM \S+, )*(GOAWAY \S+, )?closed"


def _made(name: str, make: Callable[[int], bytes], outcome: str = _MADE) -> None:
    @ATTACKS.add(f"MadeYouReset (CVE-2025-8671): {name}", outcome)
    async def run(attacker: Attacker) -> None:
        await flood(attacker, lambda: make(attacker.next_id()), _STREAMS)


_made("WINDOW_UPDATE of 0", lambda i: request(i) + window_update(i, 0))
_made("WINDOW_UPDATE overflow", lambda i: request(i) + window_update(i, MAX_WINDOW))
_made("DATA after END_STREAM", lambda i: request(i, end=True) + data(i, b"x"))
_made("HEADERS after END_STREAM", lambda i: request(i, end=True) + request(i))
_made("PRIORITY of 4 bytes", lambda i: request(i) + frame(Kind.PRIORITY, i, b"1234"))
_made("trailers without END_STREAM", lambda i: request(i) + headers(i, [(b"a", b"b")]))
_made(
    "content-length that lies",
    lambda i: headers(i, request_fields(content_length=b"9")) + data(i, prefixed(b""), end=True),
)
_made(
    "a stream that depends on itself",
    lambda i: request(i) + frame(Kind.PRIORITY, i, struct.pack(">IB", i, 1)),
    # Priorities are gone from HTTP/2 (RFC 9113 §5.3): the frame means nothing, no stream is reset,
    # and what the server does is to serve 1000 calls and to refuse the rest.
    rf"RST_STREAM REFUSED_STREAM|{CALM}",
)
_made("a field name in upper case", lambda i: headers(i, request_fields(Upper=b"")))


# ---- stream ids ----------------------------------------------------------------------------------


def _misuse(name: str, outcome: str, *frames: bytes) -> None:
    @ATTACKS.add(f"stream ids: {name}", outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        await attacker.send(*frames)
        attacker.attempts += 1


_PROTOCOL = "GOAWAY PROTOCOL_ERROR, closed"
_OK = request(5, UNARY) + data(5, prefixed(b""), end=True)
_misuse("even", _PROTOCOL, request(2, UNARY))
_misuse("0 for HEADERS", _PROTOCOL, request(0, UNARY))
_misuse("0 for DATA", _PROTOCOL, data(0, b"x"))
_misuse("0 for RST_STREAM", _PROTOCOL, rst_stream(0))
# Not an error: the stream may have been closed while its HEADERS were on their way. It is ignored.
_misuse("decreasing", "status 0", _OK, request(3, UNARY))
_misuse("used again", r"(status 0, )?GOAWAY (STREAM_CLOSED|PROTOCOL_ERROR), closed", _OK, _OK)
_misuse("DATA on an idle stream", _PROTOCOL, data(7, b"x"))
_misuse("RST_STREAM on an idle stream", _PROTOCOL, rst_stream(7))
_misuse("PUSH_PROMISE of a client", _PROTOCOL, frame(Kind.PUSH_PROMISE, 5, b"\0\0\0\2"))


@ATTACKS.add("more streams than allowed, never ended", f"RST_STREAM REFUSED_STREAM|{CALM}")
async def too_many(attacker: Attacker) -> None:
    """Everything beyond `Limits.max_concurrent_streams` is refused, the rest waits."""
    await flood(attacker, lambda: request(attacker.next_id()), _STREAMS)
