"""pick_first: the first address that answers takes all calls, for as long as it does.

The first pass through the list is Happy Eyeballs (RFC 8305): families take turns, and an address
that has not answered after the connection attempt delay is joined by the next. When all have failed
each is tried again after its own pause, in no order, until one answers. Sources: gRPC proposals
A61 (Happy Eyeballs) and A62 (failure is sticky, shuffling).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trioraft.rpc.client.connections.connectivity import ConnectivityState
from trioraft.rpc.client.connections.subchannel import Subchannel
from trioraft.rpc.client.naming.address import Address, interleaved
from trioraft.rpc.status import GRPCError

from .policy import Balancer, Hub

__all__ = ["PickFirst"]

_IDLE = ConnectivityState.IDLE
_CONNECTING = ConnectivityState.CONNECTING
_READY = ConnectivityState.READY
_FAILING = ConnectivityState.TRANSIENT_FAILURE


@dataclass(frozen=True, slots=True)
class PickFirst:
    """One address at a time.

    Attributes:
        shuffle: Try the addresses in random order instead of the resolver's, so that many clients
            spread over them (`shuffleAddressList`).
    """

    shuffle: bool = False

    @classmethod
    def from_config(cls, options: Mapping[str, Any]) -> PickFirst:
        """From a service config. Raises ValueError if an option is not valid."""
        shuffle = options.get("shuffleAddressList", False)
        if not isinstance(shuffle, bool):
            raise ValueError(f"pick_first: shuffleAddressList must be a boolean, not {shuffle!r}")
        return cls(shuffle)

    def start(self, hub: Hub) -> Balancer:
        """Put it to work on a channel."""
        return _PickFirst(hub, self.shuffle)


class _PickFirst(Balancer):
    def __init__(self, hub: Hub, shuffle: bool) -> None:
        super().__init__(hub)
        self._shuffle = shuffle
        self._addresses: list[Address] = []
        self._subchannels: list[Subchannel] = []  # in the order of the addresses; what is tried
        self._selected: Subchannel | None = None
        self._idle = False
        self._next = 0  # the subchannel whose turn it is in this pass
        self._failed: dict[Address, None] = {}  # those that have failed since the pass began
        self._failing = False  # a pass has come to nothing
        self._error: GRPCError | None = None  # the latest
        self._stop_timer: Callable[[], None] | None = None

    def update(self, addresses: Sequence[Address]) -> None:
        if addresses and set(addresses) == set(self._addresses):
            return
        addresses = list(addresses)
        if self._shuffle:
            self._hub.rng.shuffle(addresses)
        self._addresses = interleaved(addresses)
        if self._selected is not None and self._selected.address in self._addresses:
            return
        self._selected = None  # if there was one, it is drained with the others below
        if not self._addresses:
            self._close_all()
            self._failing = True
            self._idle = False  # no call could leave that now: the next addresses are tried at once
            self._no_addresses()
        elif not self._idle:
            self._begin()

    def leave_idle(self) -> None:
        if self._idle and self._addresses:
            self._idle = False
            self._begin()

    def close(self) -> None:
        self._cancel_timer()
        self._close_all()

    # ---- one pass through the list -----------------------------------------------------------

    def _begin(self) -> None:
        """Begin with the first address. Known subchannels stay, with the pauses they are in."""
        known = {subchannel.address: subchannel for subchannel in self._subchannels}
        self._subchannels = [
            known.pop(address) if address in known else self._hub.subchannel(address, self.changed)
            for address in self._addresses
        ]
        for subchannel in known.values():
            subchannel.close()
        self._next = 0
        self._failed = {}
        if not self._failing:
            self._hub.publish(_CONNECTING)
        self._try_next()

    def _try_next(self) -> None:
        self._cancel_timer()
        while self._next < len(self._subchannels):
            subchannel = self._subchannels[self._next]
            self._next += 1
            if subchannel.state is _FAILING:
                self._note_failure(subchannel)  # just now: its pause is not over
                continue
            subchannel.connect()
            if self._next < len(self._subchannels):
                self._stop_timer = self._hub.after(self._hub.attempt_delay, self._try_next)
            return
        self._check_pass()

    def _check_pass(self) -> None:
        """If every address has failed once: say so, and go on with each as its pause ends."""
        if self._failing or len(self._failed) < len(self._subchannels):
            return
        self._failing = True
        self._publish_failure()
        for subchannel in self._subchannels:
            subchannel.connect()

    def _publish_failure(self) -> None:
        soonest = min(item.retry_at for item in self._subchannels if item.state is _FAILING)
        self._hub.publish(_FAILING, error=self._error, retry_at=soonest)
        self._hub.resolve_again()

    def _note_failure(self, subchannel: Subchannel) -> None:
        self._failed[subchannel.address] = None
        self._error = subchannel.error

    def _cancel_timer(self) -> None:
        if self._stop_timer is not None:
            self._stop_timer()
            self._stop_timer = None

    # ---- what becomes of the attempts --------------------------------------------------------

    def changed(self, subchannel: Subchannel) -> None:
        if subchannel is self._selected:
            self._selected_changed(subchannel)
        elif subchannel.state is _READY:
            self._select(subchannel)
        elif subchannel.state is _FAILING:
            self._note_failure(subchannel)
            if self._failing:
                self._publish_failure()
            elif subchannel is self._subchannels[self._next - 1]:
                self._try_next()
            else:
                self._check_pass()
        elif self._failing:
            subchannel.connect()

    def _select(self, subchannel: Subchannel) -> None:
        self._cancel_timer()
        others = [item for item in self._subchannels if item is not subchannel]
        self._selected, self._subchannels = subchannel, [subchannel]
        self._failing = False
        for other in others:
            other.close()
        self._hub.publish(_READY, [subchannel])

    def _selected_changed(self, subchannel: Subchannel) -> None:
        if subchannel.state is _READY:
            self._hub.publish(_READY, [subchannel])
        elif subchannel.state is _CONNECTING:  # one more connection was being made: it is the one
            self._hub.publish(_CONNECTING)
        elif subchannel.state is _IDLE:
            self._selected = None
            self._idle = True
            self._hub.publish(_IDLE)
            self._hub.resolve_again()
        else:  # it has turned us away at once
            self._selected = None
            self._begin()
            self._hub.resolve_again()

    def _close_all(self) -> None:
        subchannels, self._subchannels = self._subchannels, []
        self._selected = None
        for subchannel in subchannels:
            subchannel.close()
