"""Attacks by DATA: empty frames, padding, length prefixes that lie, messages drop by drop."""

from __future__ import annotations

import struct

from _attack import CALM, Attacks
from _attacker import CHAT, PADDED, UNARY, Attacker, Kind, data, frame, prefixed, request

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
    "200 messages of 4 MiB that lack their last byte",
    "status 8, RST_STREAM (NO_ERROR|CANCEL)",
    holds=True,
)
async def hoard(attacker: Attacker) -> None:
    """The server has to keep what may still become a message: `Limits.max_buffered` of it."""
    await attacker.greet()
    size = 4 * 1024 * 1024
    body = data(0, bytes(16_384))
    for _ in range(200):
        stream_id = attacker.next_id()
        own = body[:5] + struct.pack(">I", stream_id) + body[9:]
        await attacker.send(request(stream_id), data(stream_id, prefixed(b"", length=size)))
        for _ in range(size // 16_384 // 15):
            await attacker.send(own * 15)
        attacker.attempts += 1


@ATTACKS.add("a message in 1.3 million pieces of 3 bytes", "kept", holds=True)
async def crumbs(attacker: Attacker) -> None:
    """Each piece of an incomplete message would cost an object of its own."""
    await attacker.greet()
    await attacker.send(request(1), data(1, prefixed(b"", length=4 * 1024 * 1024)))
    piece = data(1, b"abc") * 1000
    for _ in range(1300):
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
