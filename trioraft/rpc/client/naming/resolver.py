"""Finding the addresses behind a target: DNS, or whatever an application knows.

A resolver runs as a task of its channel while the channel is not idle. It reports addresses as
often as it likes; the channel asks for newer ones when connections fail.
Source: gRPC Name Resolution (naming.md), "Resolver Plugins".
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from trioraft.rpc.client.connections.backoff import Backoff

from .address import Address

__all__ = [
    "MAX_ADDRESSES",
    "DnsResolver",
    "PollingResolver",
    "Resolution",
    "Resolver",
    "ResolverUpdates",
]

log = logging.getLogger(__name__)

#: Addresses that a channel takes from one resolution; those beyond it are left out, with a warning.
MAX_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolver has found.

    Attributes:
        addresses: In the order of preference. None at all is a failure to whoever calls.
        service_config: gRPC's service config as decoded JSON, if the resolver has one.
    """

    addresses: Sequence[Address]
    service_config: Mapping[str, Any] | None = None


class ResolverUpdates:
    """Where a resolver reports to, and hears that newer addresses are wished for."""

    def __init__(
        self,
        found: Callable[[Resolution], None],
        failed: Callable[[Exception], None],
        backoff: Backoff,
    ) -> None:
        self._found = found
        self._failed = failed
        self._backoff = backoff
        self._wish = trio.Event()
        self._over = False

    def end(self) -> None:
        """The channel's side: nothing is heard from now on."""
        self._over = True

    def found(self, resolution: Resolution) -> None:
        """These are the addresses from now on. Never waits."""
        if self._over:
            return
        if len(resolution.addresses) > MAX_ADDRESSES:
            log.warning("%d addresses, of which %d", len(resolution.addresses), MAX_ADDRESSES)
            addresses = tuple(resolution.addresses[:MAX_ADDRESSES])
            resolution = Resolution(addresses, resolution.service_config)
        if resolution.addresses:
            self._backoff.reset()
        self._found(resolution)

    def failed(self, error: Exception) -> None:
        """There is no finding out. Addresses that were found before stay in use. Never waits."""
        if not self._over:
            self._failed(error)

    def ask(self) -> None:
        """The channel's side: newer addresses are wished for."""
        self._wish.set()

    async def wanted(self) -> None:
        """Wait until newer addresses are wished for; at once if they are already.

        A wish stays one if the wait is cancelled.
        """
        await self._wish.wait()
        self._wish = trio.Event()

    async def pause(self) -> None:
        """Wait as connections do after a failure, longer each time until something was found.

        A pause that is cancelled counts as one.
        """
        await trio.sleep_until(self._backoff.begin(trio.current_time()))


class Resolver(Protocol):
    """What `open_channel(resolver=)` takes."""

    async def run(self, updates: ResolverUpdates) -> None:
        """Report to `updates` until cancelled.

        It runs anew each time the channel leaves IDLE. Returning means that there is nothing to
        add. What it raises is logged, counts as `failed`, and it is run again after a pause.
        """


class PollingResolver(ABC):
    """A resolver that asks when it is told to, and not too often."""

    def __init__(self, *, interval: float = 30.0) -> None:
        """interval: least seconds between two questions of which the first was answered."""
        self._interval = interval

    @abstractmethod
    async def resolve(self) -> Resolution:
        """Ask once. Any exception is a failure to resolve.

        Cancelled when the channel has no more use for the answer.
        """

    async def run(self, updates: ResolverUpdates) -> None:
        """Ask at once, then whenever newer addresses are wished for, until cancelled."""
        while True:
            asked = trio.current_time()
            try:
                resolution = await self.resolve()
            except Exception as error:  # of any kind: it is the application's
                updates.failed(error)
                await updates.pause()
                continue
            updates.found(resolution)
            if not resolution.addresses:
                await updates.pause()
                continue
            await updates.wanted()
            await trio.sleep_until(asked + self._interval)


class DnsResolver(PollingResolver):
    """The addresses that the system's resolver has for a name, in its order (RFC 6724)."""

    def __init__(self, host: str, port: int, *, interval: float = 30.0) -> None:
        super().__init__(interval=interval)
        self._host = host
        self._port = port

    async def resolve(self) -> Resolution:
        """Ask once. Runs in a thread, unless Trio has a hostname resolver set.

        Cancelling it ends the wait at once; the thread ends when the system has answered it.

        Raises:
            OSError: The name has no address, or nobody could be asked.
        """
        kind = trio.socket.SOCK_STREAM
        found = await trio.socket.getaddrinfo(self._host, self._port, type=kind)
        return Resolution(tuple(_address(place, self._port) for *_, place in found))


def _address(place: Sequence[Any], port: int) -> Address:
    """An address as getaddrinfo gives it; the zone of a link-local one is a number of its own."""
    zone = f"%{place[3]}" if len(place) == 4 and place[3] else ""
    return Address(f"{place[0]}{zone}", port)
