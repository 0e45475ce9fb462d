"""A peer that keeps to nothing: HTTP/2 frames by hand, on a plain socket.

What is sent is bytes, made without any HTTP/2 library (`_frames`), so that nothing refuses to be
wrong. What comes back is taken apart just as plainly: the `Attacker` counts the frames of the
victim and says in one line how the victim took it (`outcome`). Sources: RFC 9113 (frames), RFC 7541
(HPACK).
"""

from __future__ import annotations

import itertools
import re
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import hpack
import trio
from _frames import ACK, PREFACE, Code, Kind, Set, frame, settings


class GoneError(Exception):
    """The victim has ended the connection."""


class Attacker:
    """One raw connection. `listen` runs beside the attack unless the attack is not to read.

    Attributes:
        frames: Frames of the victim by kind; SETTINGS and PING with ACK count as negative kinds.
        resets: Its RST_STREAM codes.
        statuses: Its `grpc-status` values, and `:status` values other than 200.
        goaway: The code of its GOAWAY, None if there was none.
        closed: Whether it has ended the connection.
        received: Bytes that came from it.
        opened: The stream of each of its HEADERS.
        initial_window, credit: What a stream may be sent at first, and by stream what since.
    """

    #: How much of the heaviest attacks there is: the tests make do with less than the bench.
    scale = 1.0

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.frames: Counter[int] = Counter()
        self.resets: Counter[int] = Counter()
        self.statuses: Counter[str] = Counter()
        self.goaway: int | None = None
        self.closed = False
        self.received = 0
        self.opened: list[int] = []
        self.initial_window = 65_535
        self.credit: Counter[int] = Counter()
        self.attempts = 0
        self._ids = itertools.count(1, 2)
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._buffer = bytearray()
        self._pongs: set[bytes] = set()
        self._news = trio.Event()
        self.hung_up = trio.Event()
        self._probes = 0

    def next_id(self) -> int:
        """The next stream id that is ours to use."""
        return next(self._ids)

    async def send(self, *parts: bytes) -> None:
        """Send raw bytes. Raises GoneError if the victim has ended the connection."""
        if self.closed:
            raise GoneError
        try:
            await self.stream.send_all(b"".join(parts))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.closed = True
            raise GoneError from None

    async def greet(self, values: dict[int, int] | None = None) -> None:
        """Preface, SETTINGS, and the acknowledgement of the victim's."""
        await self.send(PREFACE, settings(values), frame(Kind.SETTINGS, flags=ACK))

    async def listen(self, skip: int = 0) -> None:
        """Take what the victim sends until it ends the connection, but for the first bytes."""
        try:
            while chunk := await self.stream.receive_some(256 * 1024):
                self.received += len(chunk)
                self._buffer += chunk[skip:]
                skip = max(0, skip - len(chunk))
                self._take_frames()
                self._tell()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # a reset: the victim has ended it, too
        self.closed = True
        self.hung_up.set()
        self._tell()

    async def settle(self) -> None:
        """Wait until the victim has read everything sent so far, or has hung up."""
        self._probes += 1
        payload = struct.pack(">Q", self._probes)
        try:
            await self.send(frame(Kind.PING, 0, payload))
        except GoneError:
            return
        while payload not in self._pongs and not self.closed:
            await self._news.wait()

    async def called(self) -> None:
        """For a server: wait until the client has sent a request's HEADERS."""
        await self.more_than(0)

    async def more_than(self, count: int) -> None:
        """Wait until there were more HEADERS than so many. Raises GoneError if there never are."""
        while len(self.opened) <= count:
            if self.closed:
                raise GoneError
            await self._news.wait()

    async def room(self, stream_id: int, sent: int, size: int) -> None:
        """Wait until the stream, on which so much was sent, has room for `size`, or was refused.

        For attacks that keep to flow control. The connection's window is taken to be wide open.
        """
        while self.initial_window + self.credit[stream_id] - sent < size:
            if self.statuses or self.resets:
                return
            if self.closed:
                raise GoneError
            await self._news.wait()

    async def until(self, outcome: str, seconds: float) -> str:
        """Wait until the outcome is the expected one; give the one that is there after it."""
        with trio.move_on_after(seconds):
            while not re.fullmatch(outcome, self.outcome()):
                await self._news.wait()
        return self.outcome()

    async def until_told(self, statuses: dict[str, int], seconds: float) -> dict[str, int]:
        """As `until`, for so many of each status."""
        with trio.move_on_after(seconds):
            while self.statuses != statuses:
                await self._news.wait()
        return dict(self.statuses)

    def outcome(self) -> str:
        """How the victim took it: statuses and resets, GOAWAY, and whether it hung up."""
        told = [f"status {name}" for name in sorted(self.statuses)]
        told += [f"RST_STREAM {_name(code)}" for code in sorted(self.resets)]
        if self.goaway is not None:
            told.append(f"GOAWAY {_name(self.goaway)}")
        if self.closed:
            told.append("closed")
        return ", ".join(told) or "kept"

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _take_frames(self) -> None:
        buffer, position = self._buffer, 0
        while len(buffer) - position >= 9:
            size = int.from_bytes(buffer[position : position + 3], "big")
            if len(buffer) - position < 9 + size:
                break
            kind, flags = buffer[position + 3], buffer[position + 4]
            stream_id = int.from_bytes(buffer[position + 5 : position + 9], "big")
            payload = bytes(buffer[position + 9 : position + 9 + size])
            self._note(kind, flags, stream_id, payload)
            position += 9 + size
        del buffer[:position]

    def _note(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        acknowledged = flags & ACK and kind in (Kind.PING, Kind.SETTINGS)
        self.frames[-kind if acknowledged else kind] += 1
        if kind == Kind.SETTINGS and not acknowledged:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, at)
                if key == Set.INITIAL_WINDOW_SIZE:
                    self.initial_window = value
        elif kind == Kind.WINDOW_UPDATE:
            self.credit[stream_id] += int.from_bytes(payload, "big")
        elif kind == Kind.PING and acknowledged:
            self._pongs.add(payload)
        elif kind == Kind.RST_STREAM:
            self.resets[int.from_bytes(payload, "big")] += 1
        elif kind == Kind.GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == Kind.HEADERS:
            self.opened.append(stream_id)
            fields = dict(self._decoder.decode(payload, raw=True))
            if b"grpc-status" in fields:
                self.statuses[fields[b"grpc-status"].decode()] += 1
            elif fields.get(b":status", b"200") != b"200":
                self.statuses["HTTP " + fields[b":status"].decode()] += 1


def _name(code: int) -> str:
    return Code(code).name if code in Code.__members__.values() else hex(code)


@asynccontextmanager
async def attacking(address: str, *, reads: bool = True) -> AsyncIterator[Attacker]:
    """A connection to `host:port`. The victim's hanging up ends the block quietly."""
    host, _, port = address.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream, trio.open_nursery() as nursery:
        attacker = Attacker(stream)
        if reads:
            nursery.start_soon(attacker.listen)
        with suppress(GoneError):
            yield attacker
        if reads and attacker.closed:
            with trio.move_on_after(1):
                await attacker.hung_up.wait()  # its last words may still be on their way
        nursery.cancel_scope.cancel()
