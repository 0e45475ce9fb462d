"""What makes the connections of a channel: a resolver finds addresses, a balancer uses them.

While the channel is IDLE there is none of it. The first call brings the resolver's task and the
balancer to life; `Limits.idle_timeout` without calls ends them.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.balancing import Balancer, Balancing
from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.client.naming.resolver import Resolution, Resolver, ResolverUpdates
from trioraft.rpc.registry import ChannelEntry
from trioraft.rpc.status import GRPCError, Status

from .backoff import Backoff
from .checked import CheckedSubchannel
from .connectivity import ConnectivityState
from .health import HealthChecks
from .picker import Picker
from .subchannel import Shared, Subchannel

if TYPE_CHECKING:
    from trioraft.rpc.client.channel import Channel

__all__ = ["Connector"]

log = logging.getLogger(__name__)

_IDLE = ConnectivityState.IDLE
_FAILING = ConnectivityState.TRANSIENT_FAILURE
_SHUTDOWN = ConnectivityState.SHUTDOWN

# How often the idle timeout looks for calls: it is late by at most this part of itself.
_IDLE_LOOKS = 10


class Connector(Picker):
    """The connections of a channel, shared by all its calls. A balancer's `Hub`."""

    def __init__(
        self,
        shared: Shared,
        *,
        addresses: Sequence[Address],
        resolver: Resolver | None,
        balancing: Balancing,
    ) -> None:
        """addresses: those that need no resolver; empty with one."""
        super().__init__(shared)
        self._addresses = addresses
        self._resolver = resolver
        self._balancing = balancing
        #: Takes a resolver's service config; a ValueError refuses it, and the old one stays.
        self.on_service_config: Callable[[Mapping[str, Any]], None] | None = None
        self._channel: Channel | None = None
        self._balancer: Balancer | None = None
        self._updates: ResolverUpdates | None = None
        self._awake: list[trio.CancelScope] = []  # around the tasks of a channel that is not idle

    # ---- for the channel ---------------------------------------------------------------------

    def belong(self, channel: Channel) -> None:
        """Whose connections these are."""
        self._channel = channel

    def open(self, nursery: trio.Nursery, entry: ChannelEntry | None) -> None:
        """The channel's block begins: its tasks go into the nursery."""
        self._shared.nursery = nursery
        self._shared.entry = entry

    def close(self) -> None:
        """The channel's block ends. Never waits; who waits for a connection gets UNAVAILABLE."""
        self._sleep(_SHUTDOWN)

    def balance(self, balancing: Balancing) -> None:
        """Use another policy from now on. Calls in flight go on; new ones wait for connections,
        unless it is the same policy with settings that concern none."""
        if balancing == self._balancing:
            return
        self._balancing = balancing
        if self._balancer is not None and not self._balancer.adopt(balancing):
            self._balancer.close()
            self._balancer = None
            self.publish(ConnectivityState.CONNECTING)
            self._balance()

    def check_health(self, service: str | None) -> None:
        """Ask servers for the health of this service from now on, or for none's.

        For balancers that want it. Connections stay, and calls in flight go on.
        """
        before = self._shared.health
        if service == (None if before is None else before.service):
            return
        self._shared.health = None if service is None else HealthChecks(self.channel, service)
        for subchannel in tuple(self._shared.checked):
            subchannel.health_changed()

    # ---- idle and awake ----------------------------------------------------------------------

    def leave_idle(self) -> None:
        """Begin to connect, if the channel is IDLE. Never waits."""
        if self.connectivity.state is not _IDLE:
            return
        if self._balancer is not None:
            self._balancer.leave_idle()
            return
        self.publish(ConnectivityState.CONNECTING)
        limits, rng = self._shared.limits, self._shared.rng
        if self._resolver is not None:
            backoff = Backoff(limits.reconnect_min, limits.reconnect_max, rng)
            updates = self._updates = ResolverUpdates(self._found, self._unresolved, backoff)
            self._awake.append(self._begin(partial(self._resolve, self._resolver, updates)))
        else:
            self._balance()
        if limits.idle_timeout != math.inf:
            self._awake.append(self._begin(self._watch_idle))

    def _sleep(self, state: ConnectivityState) -> None:
        """Let go of all connections: those with calls end with the last of them."""
        tasks, self._awake = self._awake, []
        for scope in tasks:
            scope.cancel()
        if self._updates is not None:
            self._updates.end()
            self._addresses = ()
        balancer, self._balancer, self._updates = self._balancer, None, None
        self.publish(state)
        if balancer is not None:
            balancer.close()

    async def _watch_idle(self) -> None:
        """Task: go IDLE after `Limits.idle_timeout` without a call, or up to a tenth more.

        Calls are counted anyway, so that looking at the counts now and then costs them nothing.
        """
        live, before, quiet = self._shared.live, -1, 0
        while quiet < _IDLE_LOOKS:
            await trio.sleep(self._shared.limits.idle_timeout / _IDLE_LOOKS)
            seen = self._asked + sum(connection.uses for connection in live)
            busy = self._waiting or any(connection.busy for connection in live)
            quiet = 0 if busy or seen != before else quiet + 1
            before = seen
        self._sleep(_IDLE)

    def _begin(self, task: Callable[[], Awaitable[None]]) -> trio.CancelScope:
        """Start a task in a scope of its own."""
        scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await task()

        assert self._shared.nursery is not None
        self._shared.nursery.start_soon(run, name=task)
        return scope

    # ---- addresses ---------------------------------------------------------------------------

    async def _resolve(self, resolver: Resolver, updates: ResolverUpdates) -> None:
        """Task: the resolver, again after a pause if it fails."""
        while True:
            try:
                await resolver.run(updates)
            except Exception as error:  # the application's: it must not end the channel
                log.exception("%s: the resolver failed", self._shared.name)
                updates.failed(error)
            else:
                return
            await updates.pause()

    def _found(self, resolution: Resolution) -> None:
        if resolution.service_config is not None and self.on_service_config is not None:
            try:
                self.on_service_config(resolution.service_config)
            except ValueError as error:
                log.warning("%s: service config refused: %s", self._shared.name, error)
                if self._shared.entry is not None:
                    self._shared.entry.problem(f"service config refused: {error}")
        self._addresses = resolution.addresses
        if self._shared.entry is not None:
            self._shared.entry.resolved(", ".join(map(str, self._addresses)))
        self._balance()

    def _balance(self) -> None:
        if self._balancer is None:
            self._balancer = self._balancing.start(self)
        self._balancer.update(self._addresses)

    def _unresolved(self, error: Exception) -> None:
        log.info("%s: cannot resolve: %s", self._shared.name, error)
        if self._shared.entry is not None:
            self._shared.entry.problem(f"cannot resolve: {error}")
        if self._balancer is None:
            message = f"{self._shared.name}: cannot resolve: {error}"
            self.publish(_FAILING, error=GRPCError(Status.UNAVAILABLE, message))

    # ---- for the balancer --------------------------------------------------------------------

    @property
    def rng(self) -> random.Random:
        """For order and jitter."""
        return self._shared.rng

    @property
    def attempt_delay(self) -> float:
        """RFC 8305's Connection Attempt Delay."""
        return self._shared.limits.attempt_delay

    def subchannel(
        self, address: Address, changed: Callable[[Subchannel], None], *, health: bool = False
    ) -> Subchannel:
        """A subchannel, IDLE."""
        name = self._shared.name
        if self._resolver is not None or len(self._addresses) > 1:
            name = f"{name} at {address}"
        kind = CheckedSubchannel if health else Subchannel
        return kind(self._shared, address, name, changed)

    @property
    def channel(self) -> Channel:
        """Whose connections these are."""
        assert self._channel is not None
        return self._channel

    def run(self, task: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Start a task in the channel's nursery; returns how to cancel it."""
        return self._begin(task).cancel

    def resolve_again(self) -> None:
        """Newer addresses are wished for."""
        if self._updates is not None:
            self._updates.ask()

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Have `action` called later; returns how to have it not called."""

        async def wait() -> None:
            await trio.sleep(seconds)
            if not scope.cancel_called:
                action()

        scope = self._begin(wait)
        return scope.cancel
