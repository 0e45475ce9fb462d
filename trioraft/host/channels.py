"""Channels to peers: a pair per address, open while some group has a peer there.

The configuration of a group changes while it runs, and it changes inside the driver's pass,
which never waits. So `acquire` and `release` are plain calls: a pair can be used at once, its
task begins with the next pass of the event loop, and a call that is made before then waits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from trioraft.rpc import Channel, Dial, GRPCError, Limits, Status

from .environment import Environment

if TYPE_CHECKING:
    from trioraft.rpc.client.connections.connection import ClientConnection

__all__ = ["ChannelPair", "ChannelPool", "PeerChannel"]

# Seconds that a pair stays open without users. A leader that is being removed still answers what
# was forwarded to it, after the others have it out of their configuration.
_LINGER = 2.0


class ChannelPair:
    """The two channels to one address, and how many users they have.

    bulk: entries, snapshots and forwarded calls. urgent: heartbeats and votes, so that no
    large append stands in their way.
    """

    def __init__(self, address: str, *, dial: Dial, limits: Limits, rng: random.Random) -> None:
        self.address = address
        self.users = 0
        self.unused = trio.Event()
        self.bulk, self.urgent = (
            PeerChannel(self, dial, limits, random.Random(rng.getrandbits(64))) for _ in range(2)
        )
        self._opened = trio.Event()
        self._closed = False

    async def keep(self, forget: Callable[[], None]) -> None:
        """Hold both channels open until nobody has used them for a while, then `forget` the pair.

        Cancelling closes them, too.
        """
        try:
            async with self.bulk, self.urgent:
                self._opened.set()
                while self.users:
                    await self.unused.wait()
                    await trio.sleep(_LINGER)
                forget()
                self._closed = True
        finally:
            self._closed = True
            self._opened.set()

    async def check_open(self) -> None:
        """Wait until the channels are open. Raises GRPCError UNAVAILABLE once they are closed."""
        if not self._opened.is_set():
            await self._opened.wait()
        if self._closed:
            raise GRPCError(Status.UNAVAILABLE, f"server {self.address} is no peer any more")


class PeerChannel(Channel):
    """A channel that is handed out before its block begins, and that may outlive it.

    A call before waits. A call after gets UNAVAILABLE: to whoever makes it, the peer is away.
    """

    def __init__(self, pair: ChannelPair, dial: Dial, limits: Limits, rng: random.Random) -> None:
        super().__init__(pair.address, ssl_context=None, limits=limits, dial=dial, rng=rng)
        self._pair = pair

    async def connection(self, wait_for_ready: bool | None = None) -> ClientConnection:
        await self._pair.check_open()
        return await super().connection(wait_for_ready)


class ChannelPool:
    """The pairs of a host, by address. Their tasks live in the host's nursery.

    Bounded by the members of the host's groups, those that have just left included: each has one
    pair, however many groups share it.
    """

    def __init__(self, nursery: trio.Nursery, environment: Environment, limits: Limits) -> None:
        self._nursery = nursery
        self._environment = environment
        self._limits = limits
        self._pairs: dict[str, ChannelPair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def find(self, address: str) -> ChannelPair | None:
        """The open pair to `address`, for a caller that holds it already or can do without."""
        return self._pairs.get(address)

    def acquire(self, address: str) -> ChannelPair:
        """The pair to `address`, opened if need be, until a `release` for each `acquire`.

        Never waits. The channels connect when they are first used.
        """
        pair = self._pairs.get(address)
        if pair is None:
            pair = self._pairs[address] = ChannelPair(
                address,
                dial=partial(self._environment.dial, address),
                limits=self._limits,
                rng=self._environment.rng,
            )
            self._nursery.start_soon(pair.keep, lambda: self._forget(address))
        elif not pair.users:
            pair.unused = trio.Event()
        pair.users += 1
        return pair

    def _forget(self, address: str) -> None:
        del self._pairs[address]

    @contextmanager
    def visit(self, address: str) -> Iterator[PeerChannel]:
        """A channel to somebody who need not be a peer, for the length of the block."""
        pair = self.acquire(address)
        try:
            yield pair.bulk
        finally:
            self.release(address)

    def release(self, address: str) -> None:
        """One user less. Without users the pair closes in a moment, which ends its calls."""
        pair = self._pairs[address]
        pair.users -= 1
        if pair.users == 0:
            pair.unused.set()
