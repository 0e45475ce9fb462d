"""The soak's client process: all kinds of calls, cut short in all kinds of ways.

python _load.py PORT SEED      prints vitals; see `_vitals`
"""

from __future__ import annotations

import logging
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "_gen"))

import trio
from _vitals import converse
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest

from trioraft.rpc import GRPCError, Status, open_channel

WORKERS = 16
COUNTS: Counter[str] = Counter()


class WrongError(Exception):
    """A call ended in a way that it must not: the soak has failed."""


async def _cancel_after(seconds: float, scope: trio.CancelScope) -> None:
    """Unlike a deadline, which a call would take for its own, this comes out of the blue."""
    await trio.sleep(seconds)
    scope.cancel()


class Load:
    """A worker: one call after the other, each drawn from its own randomness."""

    def __init__(self, address: str, rng: random.Random) -> None:
        self._address = address
        self._rng = rng
        self._kinds: list[Callable[[EchoStub, bytes], Awaitable[None]]] = [
            self._unary,
            self._expand,
            self._collect,
            self._chat,
        ]

    async def run(self) -> None:
        """Channels that live for a while, each with many calls, until cancelled."""
        while True:
            encoding = self._rng.choice((None, "gzip"))
            async with open_channel(self._address, compression=encoding) as channel:
                stub = EchoStub(channel)
                for _ in range(self._rng.randint(1, 400)):
                    await self._one(stub)
                if self._rng.random() < 0.2:
                    await self._leave_in_the_middle(stub)
            if self._rng.random() < 0.1:
                await self._vanish()

    async def _one(self, stub: EchoStub) -> None:
        rng = self._rng
        payload = rng.randbytes(rng.choice((0, 10, 100, 1000, 40_000)))
        payload += bytes(rng.choice((0, 0, 1000)))  # something to compress
        draw = rng.random()
        word, expected = b"", {Status.OK}
        timeout: float | None = None
        if draw < 0.10:
            word, expected = b"error", {Status.NOT_FOUND}
        elif draw < 0.13:
            word, expected = b"crash", {Status.UNKNOWN}
        elif draw < 0.18:
            word, expected, timeout = b"sleep", {Status.DEADLINE_EXCEEDED}, rng.uniform(0, 0.02)
        elif draw < 0.30:
            timeout, expected = rng.uniform(0, 0.01), {Status.OK, Status.DEADLINE_EXCEEDED}
        kind = rng.choice(self._kinds)
        cut = rng.uniform(0, 0.01) if rng.random() < 0.15 else None
        async with trio.open_nursery() as nursery:
            if cut is not None:
                nursery.start_soon(_cancel_after, cut, nursery.cancel_scope)
            status = await self._status(partial(kind, stub, word + payload), timeout)
            if status not in expected:
                raise WrongError(f"{kind.__name__} {word!r}: {status.name}")
            COUNTS[status.name] += 1
            nursery.cancel_scope.cancel()
            return
        COUNTS["cancelled"] += 1

    async def _status(self, call: Callable[[], Awaitable[None]], timeout: float | None) -> Status:
        deadline = float("inf") if timeout is None else timeout
        try:
            self._timeout = timeout
            with trio.fail_after(min(deadline + 20, 40)):
                await call()
        except GRPCError as error:
            return error.status
        return Status.OK

    # ---- the four kinds ----------------------------------------------------------------------

    async def _unary(self, stub: EchoStub, payload: bytes) -> None:
        reply = await stub.Unary(EchoRequest(payload=payload), timeout=self._timeout)
        self._same(reply.payload, payload)

    async def _expand(self, stub: EchoStub, payload: bytes) -> None:
        count = self._rng.randint(0, 20)
        replies = await stub.Expand(
            EchoRequest(payload=payload, count=count), timeout=self._timeout
        )
        self._same([reply.index for reply in replies], list(range(count)))

    async def _collect(self, stub: EchoStub, payload: bytes) -> None:
        requests = [EchoRequest(payload=payload)] * self._rng.randint(1, 20)
        reply = await stub.Collect(requests, timeout=self._timeout)
        self._same(reply.index, len(requests) * len(payload))

    async def _chat(self, stub: EchoStub, payload: bytes) -> None:
        async with stub.Chat.open(timeout=self._timeout) as stream:
            for _ in range(self._rng.randint(1, 10)):
                await stream.send_message(EchoRequest(payload=payload))
                reply = await stream.recv_message()
                self._same(reply and reply.payload, payload)
            await stream.end()

    def _same(self, got: object, wanted: object) -> None:
        if got != wanted:
            raise WrongError(f"a wrong reply: {str(got)[:50]} instead of {str(wanted)[:50]}")

    # ---- disconnects -------------------------------------------------------------------------

    async def _leave_in_the_middle(self, stub: EchoStub) -> None:
        """End with calls in flight: the channel closes under them."""
        self._timeout = None
        async with trio.open_nursery() as nursery:
            for _ in range(self._rng.randint(1, 20)):
                nursery.start_soon(self._unary, stub, b"sleep")
            await trio.sleep(self._rng.uniform(0, 0.02))
            nursery.cancel_scope.cancel()
        COUNTS["left"] += 1

    async def _vanish(self) -> None:
        """A connection that dies with a reset, anywhere in its first bytes."""
        host, _, port = self._address.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
        await stream.send_all(opening[: self._rng.randint(0, len(opening))])
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(stream)
        COUNTS["vanished"] += 1


async def main(port: int, seed: int) -> None:
    """Load the server until told to quit."""
    logging.disable(logging.CRITICAL)

    async def load() -> None:
        rng = random.Random(seed)
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                worker = Load(f"127.0.0.1:{port}", random.Random(rng.random()))
                nursery.start_soon(worker.run)

    await converse(load, COUNTS)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
