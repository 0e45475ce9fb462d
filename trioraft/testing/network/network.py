"""Named hosts, the links between them, and the connections over those links."""

from __future__ import annotations

import errno
import itertools
import random
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import trio
from trio.lowlevel import ParkingLot

from trioraft.testing.trace import Trace

from .addresses import refused, split_address
from .connection import Connection
from .links import Block, LinkSettings
from .listener import SimListener
from .stream import SimStream
from .wire import Wire

__all__ = ["SimNetwork"]

FIRST_EPHEMERAL_PORT = 49152


class SimNetwork:
    """Named hosts, the links between them, and the connections over those links.

    Addresses are "host:port" strings; a host exists by being named. Leaving the block resets
    every connection and closes every listener.
    """

    def __init__(
        self,
        rng: random.Random,
        settings: LinkSettings | None = None,
        *,
        trace: Trace | None = None,
        connect_timeout: float = 20.0,
        backlog: int = 128,
    ) -> None:
        """settings: of every link without its own (see `set_link`); connect_timeout: seconds
        until a dial that gets no answer fails; backlog: connections waiting per listener."""
        self._wire = Wire(rng, settings or LinkSettings(), trace)
        self._connect_timeout = connect_timeout
        self._backlog = backlog
        self._ports = itertools.count(FIRST_EPHEMERAL_PORT)
        self._names = itertools.count(1)
        self._listeners: dict[str, SimListener] = {}
        self._connections: dict[int, Connection] = {}
        self._healed = ParkingLot()
        self._nursery_manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._nursery_manager.__aenter__()
        self._nursery.start_soon(self._wire.deliver)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        for listener in list(self._listeners.values()):
            listener.close()
        for connection in list(self._connections.values()):
            for end in connection.ends:
                end.on_reset("the simulated network has shut down")
        self._nursery.cancel_scope.cancel()
        if exc is None or _holds_cancellation(exc):
            return await self._nursery_manager.__aexit__(exc_type, exc, traceback)
        # The nursery is ours and not the user's: their error leaves as it was raised, ungrouped.
        await self._nursery_manager.__aexit__(None, None, None)
        return False

    async def listen(self, address: str) -> SimListener:
        """Open a listener; port 0 takes a free one (see its `address`).

        Raises OSError (EADDRINUSE), ValueError for a malformed address. Cancelled, it opens
        nothing.
        """
        host, port = split_address(address)
        await trio.lowlevel.checkpoint()
        if port == 0:
            address = f"{host}:{next(self._ports)}"
        if address in self._listeners:
            raise OSError(errno.EADDRINUSE, f"address {address} already in use")

        def forget() -> None:
            if self._listeners.get(address) is listener:
                del self._listeners[address]
                self._wire.record(f"unlisten {address}")

        listener = SimListener(address, self._backlog, forget)
        self._listeners[address] = listener
        self._wire.record(f"listen {address}")
        return listener

    async def dial(self, from_host: str, address: str) -> SimStream:
        """Connect from a host to an address; takes a round trip of the link.

        Raises ConnectionRefusedError when nobody listens or the link refuses, TimeoutError
        when no answer comes within the network's connect_timeout, ValueError for a malformed
        address. Cancelled, the connection is reset if the other side already has it.
        """
        host, _ = split_address(address)
        local = f"{from_host}:{next(self._ports)}"
        self._wire.record(f"dial {local} {address}")
        with trio.move_on_after(self._connect_timeout):
            await self._travel(from_host, host, address)
            listener = self._listeners.get(address)
            if listener is None:
                await self._travel(host, from_host, address)
                raise refused(address)
            near, far = self._connect(local, address)
            try:
                await listener.enqueue(far)
                await self._travel(host, from_host, address)
            except BaseException:
                near.sever("its dial was given up")
                raise
            return near
        raise TimeoutError(errno.ETIMEDOUT, f"connection to {address} timed out")

    def set_link(
        self, source: str, target: str, settings: LinkSettings, *, one_way: bool = False
    ) -> None:
        """Change a link, in both directions unless `one_way`, for what is sent from now on."""
        self._wire.set_link(source, target, settings)
        if not one_way:
            self._wire.set_link(target, source, settings)

    def reset_links(self, source: str | None = None, target: str | None = None) -> None:
        """Undo `set_link` between two hosts, both ways; without arguments, everywhere."""
        if source is None or target is None:
            self._wire.reset_links()
        else:
            self._wire.reset_links((source, target), (target, source))

    def partition(
        self,
        sources: str | Iterable[str],
        targets: str | Iterable[str],
        *,
        one_way: bool = False,
        lose: bool = False,
        refuse: bool = False,
    ) -> None:
        """Block the links from `sources` to `targets`, and back unless `one_way`.

        Bytes under way wait until `heal`; with `lose` they are lost, and a connection that
        lost any is reset when the link heals. Dials wait (and time out); with `refuse` they
        are refused.
        """
        for source in _hosts(sources):
            for target in _hosts(targets):
                pairs = [(source, target)] if one_way else [(source, target), (target, source)]
                for pair in pairs:
                    self._wire.blocks[pair] = Block(lose, refuse)
                    self._wire.record(f"block {pair[0]} {pair[1]} lose={lose} refuse={refuse}")

    def heal(
        self, sources: str | Iterable[str] | None = None, targets: str | Iterable[str] | None = None
    ) -> None:
        """Unblock the links between `sources` and `targets`, both ways; without arguments, all."""
        if (sources is None) != (targets is None):
            raise ValueError("heal takes both sides of the links to unblock, or neither")
        if sources is None or targets is None:
            pairs = list(self._wire.blocks)
        else:
            near, far = _hosts(sources), _hosts(targets)
            pairs = [(a, b) for a in near for b in far] + [(b, a) for a in near for b in far]
        for pair in pairs:
            if self._wire.blocks.pop(pair, None) is not None:
                self._wire.record(f"heal {pair[0]} {pair[1]}")
        for connection in list(self._connections.values()):
            connection.resume()
        self._healed.unpark_all()

    def reset(self, source: str, target: str, *, after_bytes: int = 0) -> int:
        """Reset every connection between two hosts, and return how many those are.

        With `after_bytes`, each is reset once that many more bytes have gone from `source` to
        `target`: the last of them arrive, and the next does not.
        """
        if after_bytes < 0:
            raise ValueError(f"after_bytes must not be negative, got {after_bytes}")
        hit = 0
        for connection in list(self._connections.values()):
            for pipe in connection.pipes:
                if (pipe.source, pipe.target) == (source, target):
                    pipe.cut_after(after_bytes)
                    hit += 1
        return hit

    def kill_host(self, name: str) -> None:
        """What the network does when a host's process dies: no listeners, connections reset.

        What it had sent still arrives, as from a kernel. The other ends see the reset when it
        reaches them, which a blocked link delays until it heals. Cancelling the process's
        tasks is the caller's part.
        """
        self._wire.record(f"kill {name}")
        for address, listener in list(self._listeners.items()):
            if split_address(address)[0] == name:
                listener.close()
        for connection in list(self._connections.values()):
            for end, pipe in zip(connection.ends, connection.pipes, strict=True):
                if pipe.source == name:
                    end.sever(f"host {name} was killed")

    def _connect(self, local: str, address: str) -> tuple[SimStream, SimStream]:
        number = next(self._names)

        def forget() -> None:
            self._connections.pop(number, None)

        connection = Connection(self._wire, number, local, address, forget)
        self._connections[number] = connection
        self._wire.record(f"connect #{number} {local} {address}")
        return connection.ends

    async def _travel(self, source: str, target: str, address: str) -> None:
        """One leg of a handshake: the link's delay, and waiting or failing while it is blocked."""
        await trio.sleep(self._wire.latency(source, target))
        while (block := self._wire.blocks.get((source, target))) is not None:
            if block.refuse:
                raise refused(address)
            await self._healed.park()
            await trio.sleep(self._wire.latency(source, target))


def _holds_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def _hosts(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
