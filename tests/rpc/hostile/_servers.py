"""Servers that are hostile to clients: what each does to a call, and how the call has to end."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import trio
from _attacker import Attacker, GoneError
from _frames import (
    ACK,
    END_HEADERS,
    MAX_WINDOW,
    PREFACE,
    Code,
    Kind,
    block,
    data,
    frame,
    headers,
    literal,
    prefixed,
    rst_stream,
    settings,
    window_update,
)

#: `play(attacker)`: the client's preface is here, nothing is sent; stream 1 is its first call.
Play = Callable[[Attacker], Awaitable[None]]

OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
DONE = [(b"grpc-status", b"0")]
EMPTY = prefixed(b"")


@dataclass(frozen=True)
class HostileServer:
    """One way for a server to be hostile.

    Attributes:
        name: For people, as it stands in docs/security.md.
        play: What it does on each connection.
        status: A regular expression for the names of the statuses that a unary call may end with.
    """

    name: str
    play: Play
    status: str


SERVERS: list[HostileServer] = []


def _server(name: str, status: str) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        SERVERS.append(HostileServer(name, play, status))
        return play

    return register


def _says(name: str, status: str, *frames: bytes, greets: bool = True) -> None:
    """A server that waits for the call and then says this, again and again if it may."""

    @_server(name, status)
    async def play(attacker: Attacker) -> None:
        if greets:
            await attacker.send(settings(), frame(Kind.SETTINGS, flags=ACK))
            await attacker.called()
        await attacker.send(*frames)


def _floods(name: str, status: str, start: bytes, one: bytes, count: int) -> None:
    """A server that answers the call with `start` and then with very many of `one`."""

    @_server(name, status)
    async def play(attacker: Attacker) -> None:
        await attacker.send(settings(), frame(Kind.SETTINGS, flags=ACK))
        await attacker.called()
        await attacker.send(start)
        for _ in range(count // 100):
            await attacker.send(one * 100)


@asynccontextmanager
async def hostile(play: Play) -> AsyncIterator[str]:
    """A hostile server on a free loopback port; gives `host:port`."""

    async def handle(stream: trio.SocketStream) -> None:
        attacker = Attacker(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(attacker.listen, skip=len(PREFACE)))
            with suppress(GoneError):
                await play(attacker)
                await attacker.hung_up.wait()
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# ---- before the call -----------------------------------------------------------------------------

_says("never sends SETTINGS", "UNAVAILABLE", greets=False)
_says("closes at once", "UNAVAILABLE", frame(Kind.GOAWAY, 0, bytes(8)), greets=False)
_says("answers in HTTP/1", "UNAVAILABLE", b"HTTP/1.1 400 Bad Request\r\n\r\n", greets=False)
_says("answers in another language", "UNAVAILABLE", b"\0\xff" * 5000, greets=False)
_says("SETTINGS of 5 bytes", "UNAVAILABLE", frame(Kind.SETTINGS, 0, bytes(5)), greets=False)
_says("SETTINGS: a window of 2**31", "UNAVAILABLE", settings({4: 2**31}), greets=False)
_says("SETTINGS: no stream allowed", "DEADLINE_EXCEEDED", settings({3: 0}), greets=False)
_says("SETTINGS: a window of 0", "DEADLINE_EXCEEDED", settings({4: 0}), greets=False)
_says(
    "SETTINGS: the largest values of everything, no answer",
    "DEADLINE_EXCEEDED",
    settings({1: 2**32 - 1, 3: 2**32 - 1, 4: MAX_WINDOW, 5: 2**24 - 1, 6: 2**32 - 1}),
    greets=False,
)
_says("SETTINGS: frames of 1 byte", "UNAVAILABLE", settings({5: 1}), greets=False)

# ---- instead of an answer ------------------------------------------------------------------------

_LOST = "UNAVAILABLE|INTERNAL"
_says("GOAWAY for what it has taken", "UNAVAILABLE", frame(Kind.GOAWAY, 0, bytes(8)))
_says(
    "GOAWAY that counts up",
    _LOST,
    frame(Kind.GOAWAY, 0, b"\0\0\0\1" + bytes(4)),
    frame(Kind.GOAWAY, 0, b"\0\0\0\7" + bytes(4)),
)
_says(
    "GOAWAY with 15 KiB of debug data",
    "UNAVAILABLE",
    frame(Kind.GOAWAY, 0, bytes(7) + b"\x0b" + b"!" * 15_000),
)
_says("GOAWAY of 3 bytes", _LOST, frame(Kind.GOAWAY, 0, bytes(3)))
_says("PUSH_PROMISE", _LOST, frame(Kind.PUSH_PROMISE, 1, b"\0\0\0\2" + block(*OK), END_HEADERS))
_says("HEADERS on a stream of its own", _LOST, headers(2, OK))
_says("HEADERS on a stream that nobody opened", _LOST, headers(99, OK))
_says("DATA before HEADERS", _LOST, data(1, EMPTY))
_says("DATA on a stream that nobody opened", _LOST, data(99, EMPTY))
_says(
    "DATA after END_STREAM", _LOST + "|OK", headers(1, OK), data(1, EMPTY, end=True), data(1, EMPTY)
)
_says(
    "HPACK that refers to nothing",
    _LOST,
    frame(Kind.HEADERS, 1, b"\xff\xff\xff\xff\x0f", END_HEADERS),
)
_says("half a frame", "UNAVAILABLE|DEADLINE_EXCEEDED", headers(1, OK)[:-5])
_says("no status, END_STREAM", "INTERNAL|UNKNOWN", headers(1, OK), data(1, EMPTY, end=True))
_says("HEADERS without :status", _LOST, headers(1, OK[1:]))
_says("a field in upper case", _LOST, headers(1, [*OK, (b"Upper", b"x")]))
_says(
    "HTTP 500 in HTML", "UNKNOWN", headers(1, [(b":status", b"500")]), data(1, b"<html>", end=True)
)
_says(":status that is no number", _LOST + "|UNKNOWN", headers(1, [(b":status", b"abc")], end=True))
for _code in (Code.NO_ERROR, Code.CANCEL, Code.ENHANCE_YOUR_CALM, 0xFFFFFFFF):
    _says(
        f"RST_STREAM {_code:#x}",
        "INTERNAL|UNAVAILABLE|CANCELLED|RESOURCE_EXHAUSTED",
        rst_stream(1, _code),
    )


@_server("RST_STREAM REFUSED_STREAM for every call", "UNAVAILABLE")
async def refuses(attacker: Attacker) -> None:
    """A refused call may be made once more by itself, and not for ever."""
    await attacker.send(settings(), frame(Kind.SETTINGS, flags=ACK))
    count = 0
    while True:
        await attacker.more_than(count)
        await attacker.send(rst_stream(attacker.opened[count], Code.REFUSED_STREAM))
        count += 1


# ---- in the answer -------------------------------------------------------------------------------


def _answers(
    name: str, status: str, trailers: list[tuple[bytes, bytes]], body: bytes = EMPTY
) -> None:
    _says(name, status, headers(1, OK), data(1, body), headers(1, trailers, end=True))


_answers("length prefix of 4 GiB", "RESOURCE_EXHAUSTED", DONE, prefixed(b"x", length=2**32 - 1))
_answers("length prefix longer than the body", "INTERNAL", DONE, prefixed(b"x", length=9))
_answers("length prefix shorter than the body", "INTERNAL", DONE, prefixed(b"xxxxxxxx", length=1))
_answers("compressed flag of 255", "INTERNAL", DONE, prefixed(b"x", flag=255))
_answers(
    "compressed flag without an encoding", "INTERNAL|UNIMPLEMENTED", DONE, prefixed(b"x", flag=1)
)
_answers("a body that is no protobuf", "INTERNAL", DONE, prefixed(b"\xff" * 64))
_answers("two messages for a unary call", "INTERNAL", DONE, EMPTY * 2)
_answers("grpc-status that is no number", "UNKNOWN", [(b"grpc-status", b"\xb2")])
_answers("grpc-status of 1000 digits", "UNKNOWN", [(b"grpc-status", b"9" * 1000)])
_answers(
    "grpc-message that is no UTF-8",
    "NOT_FOUND",
    [(b"grpc-status", b"5"), (b"grpc-message", b"\xff%ff%")],
)
_answers(
    "grpc-status-details-bin that is no base64",
    "NOT_FOUND",
    [(b"grpc-status", b"5"), (b"grpc-status-details-bin", b"====!")],
)
_BOMB = prefixed(gzip.compress(bytes(64 << 20)), flag=1)
_says(
    "gzip bomb of 64 MiB",
    "RESOURCE_EXHAUSTED",
    headers(1, [*OK, (b"grpc-encoding", b"gzip")]),
    *(data(1, _BOMB[i : i + 16_384]) for i in range(0, len(_BOMB), 16_384)),
    headers(1, DONE, end=True),
)
_floods(
    "endless 1xx", "DEADLINE_EXCEEDED|" + _LOST, b"", headers(1, [(b":status", b"103")]), 200_000
)
_floods("endless trailers", _LOST, headers(1, OK), headers(1, DONE), 20_000)
_floods(
    "endless CONTINUATION",
    _LOST,
    frame(Kind.HEADERS, 1, block(*OK)),
    frame(Kind.CONTINUATION, 1, literal(b"a", b"b")),
    20_000,
)
_floods(
    "headers of 16 MiB",
    _LOST,
    frame(Kind.HEADERS, 1, block(*OK)),
    frame(Kind.CONTINUATION, 1, literal(b"a", b"x" * 16_000)),
    1_000,
)
_floods("empty DATA for ever", _LOST + "|DEADLINE_EXCEEDED", headers(1, OK), data(1), 60_000)
_floods(
    "DATA beyond every window",
    _LOST + "|RESOURCE_EXHAUSTED",
    headers(1, OK),
    data(1, EMPTY * 3000),
    40_000,
)
_floods(
    "a message in crumbs, never whole",
    "DEADLINE_EXCEEDED",
    headers(1, OK) + data(1, prefixed(b"", length=4 << 20)),
    data(1, b"abc"),
    400_000,
)
_floods("SETTINGS flood", "UNAVAILABLE", b"", settings(), 60_000)
_floods("PING flood", "UNAVAILABLE", b"", frame(Kind.PING, 0, bytes(8)), 60_000)
_floods("WINDOW_UPDATE flood", "DEADLINE_EXCEEDED", b"", window_update(0, 1), 60_000)
_floods("WINDOW_UPDATE overflow", _LOST, b"", window_update(0, MAX_WINDOW), 100)
_floods("RST_STREAM storm", "CANCELLED|" + _LOST, b"", rst_stream(1), 20_000)
_floods("unknown frames for ever", _LOST + "|DEADLINE_EXCEEDED", b"", frame(0xFA, 0, b"x"), 60_000)
