"""Fuzz targets that are whole connections: a peer made of bytes, against `serve` and a channel.

The bytes are a script of steps: good frames and bad ones, raw bytes, pauses. That way a mutation is
another session most of the time, not another broken preface. Time is virtual; nothing is random.
A mistake of ours shows as an exception, a line in the log that says so (ERROR), or as a call that
does not end.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

import trio
import trio.testing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rpc" / "hostile"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rpc" / "_gen"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "rpc"))

from _frames import (
    ACK,
    CHAT,
    COLLECT,
    EXPAND,
    PREFACE,
    UNARY,
    Kind,
    data,
    frame,
    headers,
    prefixed,
    request,
    settings,
    window_update,
)
from _fuzz_parsers import Target
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo

from trioraft.rpc import GRPCError, open_channel, serve

_PATHS = (UNARY, CHAT, EXPAND, COLLECT)
_GREETING = settings() + frame(Kind.SETTINGS, flags=ACK)
_RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_STEPS = 64  # of a script; more is cut off
_TURNS = 6  # of the scheduler, for the victim to catch up


class _Script:
    """Reads a script's steps off its bytes; past their end everything is 0."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._position = 0

    @property
    def over(self) -> bool:
        return self._position >= len(self._script)

    def byte(self) -> int:
        self._position += 1
        return 0 if self._position > len(self._script) else self._script[self._position - 1]

    def piece(self) -> bytes:
        size = self.byte()
        self._position += size
        return self._script[self._position - size : self._position]


async def _play(script: _Script, stream: trio.abc.Stream, *, server: bool) -> None:
    """Send what the script says; with `server`, good frames are those of a server."""
    try:
        for _ in range(_STEPS):
            if script.over:
                return
            step = script.byte()
            what, times = step & 0x0F, (step >> 4) + 1
            if what <= 9:
                flags, stream_id = script.byte(), script.byte()
                await stream.send_all(frame(what, stream_id, script.piece(), flags) * times)
            elif what == 10:
                await stream.send_all(script.piece() * times)
            elif what == 11:
                await _turns(times * _TURNS)
            elif what == 12:
                await trio.sleep(times)
            elif what == 13:
                stream_id, body = script.byte(), script.piece()
                await stream.send_all(data(stream_id, prefixed(body) * times))
            elif what == 14:
                await stream.send_all(_good_headers(script, times, server=server))
            else:
                await stream.send_all(window_update(script.byte(), times << script.byte() % 28))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # the victim has had enough


def _good_headers(script: _Script, variant: int, *, server: bool) -> bytes:
    stream_id = script.byte()
    end = variant % 2 == 0
    if not server:
        return request(stream_id, _PATHS[variant // 2 % 4], end=end)
    if variant % 4 < 2:
        return headers(stream_id, _RESPONSE, end=end)
    trailers = [(b"grpc-status", b"%d" % (variant % 18)), (b"grpc-message", script.piece())]
    return headers(stream_id, trailers, end=True)


async def _turns(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def _drain(stream: trio.abc.Stream) -> None:
    try:
        while await stream.receive_some(65_536):
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


class _OneListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts one stream that is there already."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._streams = [stream]

    async def accept(self) -> trio.abc.Stream:
        if not self._streams:
            await trio.sleep_forever()
        return self._streams.pop()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _Complaints(logging.Handler):
    """Lines of the log that stand for a mistake of ours."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)

    def raise_found(self) -> None:
        found, self.found = self.found, []
        if found:
            error = found[0].exc_info[1] if found[0].exc_info else None
            raise AssertionError(found[0].getMessage()) from error


_COMPLAINTS = _Complaints()


def _listen_to_complaints() -> None:
    log = logging.getLogger("trioraft")
    if _COMPLAINTS not in log.handlers:
        log.addHandler(_COMPLAINTS)
        log.setLevel(logging.ERROR)
        log.propagate = False


async def _against_server(script: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, [Echo()], listeners=[_OneListener(theirs)]))
        nursery.start_soon(_drain, ours)
        steps = _Script(script)
        if steps.byte() != 0xFF:  # else the preface is the script's, too
            await ours.send_all(PREFACE + _GREETING)
        await _play(steps, ours, server=False)
        await _turns(4 * _TURNS)
        await ours.aclose()
        await _turns(_TURNS)
        nursery.cancel_scope.cancel()


async def _against_client(script: bytes) -> None:
    steps = _Script(script)
    async with trio.open_nursery() as nursery:

        async def dial() -> trio.abc.Stream:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(_drain, ours)
            nursery.start_soon(_serve, ours)
            return theirs

        async def _serve(stream: trio.abc.Stream) -> None:
            if steps.byte() != 0xFF:
                await stream.send_all(_GREETING)
                await _turns(_TURNS)
            await _play(steps, stream, server=True)
            if steps.byte() & 1:
                await stream.aclose()

        async with open_channel("fuzzed", dial=dial) as channel:
            stub = EchoStub(channel)
            calls = (
                stub.Unary(EchoRequest(payload=b"x" * 100), timeout=30.0),
                stub.Expand(EchoRequest(count=3), timeout=30.0),
            )
            for call in calls:
                with trio.fail_after(31):
                    try:
                        await call
                    except GRPCError:
                        continue
        nursery.cancel_scope.cancel()


def server(script: bytes) -> None:
    """A server's whole connection: it ends, or goes on; nothing of ours fails."""
    _listen_to_complaints()
    trio.run(_against_server, script, clock=trio.testing.MockClock(autojump_threshold=0))
    _COMPLAINTS.raise_found()


def client(script: bytes) -> None:
    """A client's whole connection: each of its calls ends with a reply or a status."""
    _listen_to_complaints()
    trio.run(_against_client, script, clock=trio.testing.MockClock(autojump_threshold=0))
    _COMPLAINTS.raise_found()


TARGETS: dict[str, Target] = {"server": server, "client": client}
