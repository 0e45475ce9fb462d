"""What a balancing policy is to a channel, and how one is named."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from trioraft.rpc.client.connections.connectivity import ConnectivityState
from trioraft.rpc.client.connections.subchannel import Subchannel
from trioraft.rpc.client.naming.address import Address
from trioraft.rpc.status import GRPCError, Status

if TYPE_CHECKING:
    from trioraft.rpc.client.channel import Channel

__all__ = ["Balancer", "Balancing", "BalancingLike", "Hub", "balancing_from", "balancing_of"]


class Hub(Protocol):
    """The channel, as its balancer sees it."""

    @property
    def rng(self) -> random.Random:
        """For order and jitter."""

    @property
    def attempt_delay(self) -> float:
        """Seconds after which the next address is tried beside one that does not answer."""

    def subchannel(
        self, address: Address, changed: Callable[[Subchannel], None], *, health: bool = False
    ) -> Subchannel:
        """A subchannel, IDLE; `changed` hears of its changes.

        health: it is READY only while its server says so, if the channel is to ask (A17).
        """

    def publish(
        self,
        state: ConnectivityState,
        ready: Sequence[Subchannel] = (),
        error: GRPCError | None = None,
        retry_at: float = 0.0,
        order: Callable[[], int] | None = None,
    ) -> None:
        """The channel's state; if READY, which subchannels take calls, else why there is none.

        order: Called for each call if there are several: the index of the subchannel to take it.
            By default they take turns.
        """

    def resolve_again(self) -> None:
        """Addresses have failed: newer ones are wished for."""

    def after(self, seconds: float, action: Callable[[], None]) -> Callable[[], None]:
        """Have `action` called later; returns how to have it not called."""

    @property
    def channel(self) -> Channel:
        """Whose connections these are, for calls of the balancer's own."""

    def run(self, task: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Start a task in the channel's nursery; returns how to cancel it."""


class Balancer(ABC):
    """A policy at work on one channel, from the first call until the channel is idle or closed.

    None of its methods may wait. Making one is the wish to connect.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @abstractmethod
    def update(self, addresses: Sequence[Address]) -> None:
        """The resolver has found these. None at all is a failure."""

    @abstractmethod
    def changed(self, subchannel: Subchannel) -> None:
        """A subchannel has another state, or other connections."""

    @abstractmethod
    def leave_idle(self) -> None:
        """A call needs a connection, and the state is IDLE."""

    def adopt(self, balancing: Balancing) -> bool:
        """Go on with other settings of the same policy, connections and all, if that can be."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Close all subchannels and do nothing any more."""

    def _no_addresses(self) -> None:
        error = GRPCError(Status.UNAVAILABLE, "the resolver has found no address")
        self._hub.publish(ConnectivityState.TRANSIENT_FAILURE, error=error)
        self._hub.resolve_again()


class Balancing(Protocol):
    """A policy with its options. Those that there are: `PickFirst`, `RoundRobin`,
    `WeightedRoundRobin`."""

    def start(self, hub: Hub) -> Balancer:
        """Put it to work on a channel."""


BalancingLike: TypeAlias = str | Balancing


def _known() -> dict[str, Callable[[Mapping[str, Any]], Balancing]]:
    from .pick_first import PickFirst
    from .round_robin import RoundRobin
    from .weighted import WeightedRoundRobin

    return {
        "pick_first": PickFirst.from_config,
        "round_robin": RoundRobin.from_config,
        "weighted_round_robin": WeightedRoundRobin.from_config,
    }


def balancing_of(balancing: BalancingLike) -> Balancing:
    """A policy by its name in gRPC, such as `round_robin`. Others are returned as they are.

    Raises:
        ValueError: No such name.
    """
    if not isinstance(balancing, str):
        return balancing
    return balancing_from([{balancing: {}}])


def balancing_from(config: Any) -> Balancing:
    """The `loadBalancingConfig` of a service config: the first policy of the list that is known.

    Source: gRPC proposal A24 (lb policy config), service_config.proto.

    Raises:
        ValueError: It is no list of objects with one key each, none of them is known, or the
            options of the first known one are not valid.
    """
    if not isinstance(config, Sequence) or isinstance(config, str):
        raise ValueError(f"loadBalancingConfig must be a list, not {config!r}")
    known = _known()
    for entry in config:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise ValueError(f"loadBalancingConfig: {entry!r} is not an object with one key")
        [(name, options)] = entry.items()
        make = known.get(name)
        if make is not None:
            if not isinstance(options, Mapping):
                raise ValueError(f"loadBalancingConfig: {name}: {options!r} is not an object")
            return make(options)
    names = ", ".join(known)
    raise ValueError(f"no balancing policy of {config!r} is known; there are {names}")
