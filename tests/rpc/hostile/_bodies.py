"""Attacks by DATA: empty frames, padding, length prefixes that lie, messages drop by drop."""

from __future__ import annotations

import struct
import zlib

from _attack import CALM, Attacks
from _attacker import Attacker
from _frames import (
    CHAT,
    PADDED,
    UNARY,
    Kind,
    data,
    frame,
    headers,
    prefixed,
    request,
    request_fields,
)

ATTACKS = Attacks()

_FRAMES = 60_000


def _drizzle(name: str, drop: bytes, outcome: str = CALM) -> None:
    @ATTACKS.add(name, outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        await attacker.send(request(1, CHAT))
        for _ in range(_FRAMES // 100):
            await attacker.send(drop * 100)
            attacker.attempts += 100


_drizzle("flood of empty DATA", data(1))
# Padding is paid for by the window like any other byte: no cheaper for the server's enemies.
_drizzle(
    "flood of DATA that is all padding", frame(Kind.DATA, 1, b"\x05" + bytes(5), PADDED), "kept"
)


def _body(name: str, outcome: str, payload: bytes, *, end: bool = True) -> None:
    @ATTACKS.add(name, outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        await attacker.send(request(1, UNARY), data(1, payload, end=end))
        attacker.attempts += 1


_body("length prefix: longer than the body", "status 13", prefixed(b"abc", length=100))
_body("length prefix: shorter than the body", "status 13", prefixed(b"abcdefgh", length=1))
_body("length prefix: 4 GiB", "status 8", prefixed(b"abc", length=2**32 - 1))
_body(
    "length prefix: 4 GiB, and nothing more",
    "status 8, RST_STREAM NO_ERROR",
    prefixed(b"", length=2**32 - 1),
    end=False,
)
_body("length prefix: cut off", "status 13", b"\0\0\0")
_body("compressed flag without an encoding", "status (12|13)", prefixed(b"abc", flag=1))
_body("compressed flag of 255", "status 13", prefixed(b"abc", flag=255))
_body("a body that is no protobuf", "status 13", prefixed(b"\xff" * 64))
_body("no body at all", "status 13", b"")


def _bomb(name: str, outcome: str, encoding: bytes, payload: bytes) -> None:
    """Ten calls, each with the compressed body, in frames of the largest size."""

    @ATTACKS.add(name, outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        fields = request_fields(UNARY, grpc_encoding=encoding)
        wire = prefixed(payload, flag=1)
        pieces = [wire[i : i + 16_384] for i in range(0, len(wire), 16_384)]
        for _ in range(10):
            stream_id = attacker.next_id()
            await attacker.send(headers(stream_id, fields), *(data(stream_id, p) for p in pieces))
            await attacker.send(data(stream_id, end=True))
            attacker.attempts += 1


_ZEROS = bytes(1 << 20)


def _zipped(mebibytes: int, window_bits: int) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    return b"".join(deflater.compress(_ZEROS) for _ in range(mebibytes)) + deflater.flush()


_bomb(
    "gzip bomb: 100 KiB that are 100 MiB",
    "status 8(, RST_STREAM NO_ERROR)?",
    b"gzip",
    _zipped(100, 31),
)
_bomb(
    "deflate bomb: 100 KiB that are 100 MiB",
    "status 8(, RST_STREAM NO_ERROR)?",
    b"deflate",
    _zipped(100, 15),
)
_bomb(
    "a gzip body that is cut off",
    "status 13(, RST_STREAM NO_ERROR)?",
    b"gzip",
    _zipped(1, 31)[:500],
)
_bomb(
    "a gzip body with more behind it",
    "status 13(, RST_STREAM NO_ERROR)?",
    b"gzip",
    _zipped(1, 31) + b"more",
)
_bomb("a gzip body that is none", "status 13(, RST_STREAM NO_ERROR)?", b"gzip", b"\xff" * 100)
_bomb("an encoding that nobody knows", "status 12(, RST_STREAM NO_ERROR)?", b"snappy", b"abc")


@ATTACKS.add("padding longer than its frame", "GOAWAY PROTOCOL_ERROR, closed")
async def long_padding(attacker: Attacker) -> None:
    """RFC 9113 §6.1."""
    await attacker.greet()
    await attacker.send(request(1, UNARY), frame(Kind.DATA, 1, b"\xffabc", PADDED))


@ATTACKS.add("a message byte by byte, cut off", "status 13")
async def dripping(attacker: Attacker) -> None:
    """A frame for each byte: slow, but nothing is wrong with it until it ends too soon."""
    await attacker.greet()
    await attacker.send(request(1, UNARY))
    for byte in prefixed(bytes(5000), length=6000):
        await attacker.send(data(1, bytes([byte])))
    await attacker.send(data(1, end=True))


@ATTACKS.add(
    "200 messages of 4 MiB that lack their end",
    "status 8, RST_STREAM (NO_ERROR|CANCEL)(, GOAWAY FLOW_CONTROL_ERROR, closed)?",
    holds=True,
)
async def hoard(attacker: Attacker) -> None:
    """The server has to keep what may still become a message: `Limits.max_buffered` of it.

    The attacker keeps to the windows of the streams and not to the connection's: when it is quick
    enough to outrun that, it is thrown out.
    """
    await attacker.greet()
    await attacker.settle()
    size = 4 * 1024 * 1024
    body = data(0, bytes(16_384))
    for _ in range(200):
        stream_id = attacker.next_id()
        own = body[:5] + struct.pack(">I", stream_id) + body[9:]
        await attacker.send(request(stream_id), data(stream_id, prefixed(b"", length=size)))
        for sent in range(5, size - 16 * 16_384, 4 * 16_384):
            await attacker.room(stream_id, sent, 4 * 16_384)
            await attacker.send(own * 4)
        attacker.attempts += 1


@ATTACKS.add("a message in 1.3 million pieces of 3 bytes", "kept", holds=True)
async def crumbs(attacker: Attacker) -> None:
    """Each piece of an incomplete message would cost an object of its own."""
    await attacker.greet()
    await attacker.send(request(1), data(1, prefixed(b"", length=4 * 1024 * 1024)))
    piece = data(1, b"abc") * 1000
    for _ in range(int(1300 * attacker.scale)):
        await attacker.send(piece)
    attacker.attempts += 1


@ATTACKS.add(
    "DATA beyond the window",
    r"(GOAWAY FLOW_CONTROL_ERROR, closed|RST_STREAM FLOW_CONTROL_ERROR|closed).*",
)
async def beyond(attacker: Attacker) -> None:
    """The stream's window is 512 KiB, and no one reads on a unary call's stream."""
    await attacker.greet()
    await attacker.send(request(1, CHAT))
    for _ in range(40_000):
        await attacker.send(data(1, prefixed(b"") * 3000))
        attacker.attempts += 1
        if attacker.resets:
            return
