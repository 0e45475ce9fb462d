"""Attacks by frames that carry nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, GOAWAY."""

from __future__ import annotations

import itertools
import struct

from _attack import CALM, Attacks, flood
from _attacker import Attacker
from _frames import (
    EXPAND,
    MAX_WINDOW,
    Kind,
    Set,
    data,
    frame,
    prefixed,
    request,
    settings,
    window_update,
)

ATTACKS = Attacks()

_FRAMES = 60_000

PING = frame(Kind.PING, 0, b"12345678")


def _floods(name: str, one: bytes, *, reads: bool = True, outcome: str = CALM) -> None:
    @ATTACKS.add(name, outcome, reads=reads)
    async def run(attacker: Attacker) -> None:
        await flood(attacker, lambda: one, _FRAMES)


_floods("SETTINGS flood", settings())
_floods("SETTINGS flood, answers unread", settings(), reads=False, outcome=f"kept|{CALM}")
_floods("PING flood", PING)
# Who does not read may be through before the server is: the socket takes that much.
_floods("PING flood, answers unread", PING, reads=False, outcome=f"kept|{CALM}")
_floods("PRIORITY flood", frame(Kind.PRIORITY, 1, struct.pack(">IB", 3, 1)))
# Each byte of window is worth something to somebody: nothing but the work per frame to bound.
_floods("WINDOW_UPDATE flood", window_update(0, 1), outcome="kept")
_floods("GOAWAY flood", frame(Kind.GOAWAY, 0, bytes(8)))
_floods("flood of unknown frames", frame(0xFA, 0, b"x"))
_floods("flood of SETTINGS acknowledgements", frame(Kind.SETTINGS, flags=1))
_floods("flood of RST_STREAM for streams long gone", frame(Kind.RST_STREAM, 1, bytes(4)))


@ATTACKS.add("SETTINGS flood that resizes the windows of 1000 streams", CALM)
async def resize(attacker: Attacker) -> None:
    """Each SETTINGS frame costs the server work for every open stream."""
    await attacker.greet()
    await attacker.send(*(request(attacker.next_id()) for _ in range(1000)))
    sizes = itertools.cycle((65_535, 65_534))
    for _ in range(_FRAMES // 100):
        await attacker.send(*(settings({Set.INITIAL_WINDOW_SIZE: next(sizes)}) for _ in range(100)))
        attacker.attempts += 100


def _once(name: str, outcome: str, *frames: bytes) -> None:
    @ATTACKS.add(name, outcome)
    async def run(attacker: Attacker) -> None:
        await attacker.greet()
        await attacker.send(*frames)
        attacker.attempts += 1


_FLOW = "GOAWAY FLOW_CONTROL_ERROR, closed"
_PROTOCOL = "GOAWAY PROTOCOL_ERROR, closed"
_once("SETTINGS: a window of 2**31", _FLOW, settings({Set.INITIAL_WINDOW_SIZE: 2**31}))
_once("SETTINGS: frames of 1 byte", _PROTOCOL, settings({Set.MAX_FRAME_SIZE: 1}))
_once("SETTINGS: a push flag of 7", _PROTOCOL, settings({Set.ENABLE_PUSH: 7}))
_once(
    "SETTINGS: the largest values of everything",
    "kept",
    settings(
        {1: 2**32 - 1, 3: 2**32 - 1, 4: 2**31 - 1, 5: 2**24 - 1, 6: 2**32 - 1, 0xF00: 2**32 - 1}
    ),
)
_once(
    "SETTINGS: 2000 entries in one frame",
    r"GOAWAY (ENHANCE_YOUR_CALM|PROTOCOL_ERROR), closed",
    frame(Kind.SETTINGS, 0, struct.pack(">HI", 3, 100) * 2000),
)
_once("SETTINGS of 5 bytes", "GOAWAY FRAME_SIZE_ERROR, closed", frame(Kind.SETTINGS, 0, bytes(5)))
_once("a frame of 1 MiB", "(GOAWAY FRAME_SIZE_ERROR, )?closed", frame(Kind.PING, 0, bytes(1 << 20)))
_once("window overflow", _FLOW, window_update(0, MAX_WINDOW))
_once("WINDOW_UPDATE of 0 for the connection", _PROTOCOL, window_update(0, 0))


# ---- windows -------------------------------------------------------------------------------------

_THOUSAND = b"\x0a\x80\x02" + bytes(256) + b"\x10\xe8\x07"  # EchoRequest: 256 bytes, 1000 times


async def _ask(attacker: Attacker, streams: int) -> list[int]:
    """Ask for a thousand replies on each of so many streams."""
    ids = [attacker.next_id() for _ in range(max(1, int(streams * attacker.scale)))]
    for stream_id in ids:
        await attacker.send(
            request(stream_id, EXPAND), data(stream_id, prefixed(_THOUSAND), end=True)
        )
        attacker.attempts += 1
    return ids


@ATTACKS.add("window games: initial window 0, 500 streams of replies", "kept", holds=True)
async def window_zero(attacker: Attacker) -> None:
    """Replies are asked for and never let through."""
    await attacker.greet({Set.INITIAL_WINDOW_SIZE: 0})
    await _ask(attacker, 500)


@ATTACKS.add("window games: a window that opens byte by byte", rf"kept|{CALM}")
async def window_one(attacker: Attacker) -> None:
    """Every byte of a reply costs the server a frame."""
    await attacker.greet({Set.INITIAL_WINDOW_SIZE: 0})
    [stream_id] = await _ask(attacker, 1)
    for _ in range(200):
        await attacker.send(window_update(stream_id, 1) * 100)


@ATTACKS.add("slow read: 500 streams of replies that nobody takes", "kept", reads=False, holds=True)
async def slow_read(attacker: Attacker) -> None:
    """The windows are wide open, the socket is not."""
    await attacker.greet({Set.INITIAL_WINDOW_SIZE: MAX_WINDOW})
    await attacker.send(window_update(0, MAX_WINDOW - 65_535))
    await _ask(attacker, 500)
