"""The state of a channel, and waiting for it to change.

Source: gRPC Connectivity Semantics and API (connectivity-semantics-and-api.md).
"""

from __future__ import annotations

from enum import StrEnum

import trio

__all__ = ["Connectivity", "ConnectivityState", "StateChanges", "Watched"]


class ConnectivityState(StrEnum):
    """What a channel is doing about its connections. Equal to the names as plain strings."""

    #: Nothing: no call needs a connection. The next call, or `Channel.connect`, begins.
    IDLE = "IDLE"
    #: Looking up the name, connecting, TLS, waiting for HTTP/2. Calls wait.
    CONNECTING = "CONNECTING"
    #: At least one connection takes calls.
    READY = "READY"
    #: The last attempts have failed; others follow by themselves. Calls fail with UNAVAILABLE,
    #: unless they wait for ready. The state lasts until one succeeds (gRPC proposal A62).
    TRANSIENT_FAILURE = "TRANSIENT_FAILURE"
    #: The channel's block has ended.
    SHUTDOWN = "SHUTDOWN"


class Connectivity:
    """A state that can be watched by any number of tasks."""

    def __init__(self) -> None:
        self.state: ConnectivityState = ConnectivityState.IDLE
        self._changed = trio.Event()

    def set(self, state: ConnectivityState) -> None:
        """Enter a state; those that wait hear of it unless it is the one that was."""
        if state is not self.state:
            self.state = state
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def wait_change(self, last: ConnectivityState | str) -> ConnectivityState:
        """Wait until the state is another than `last`, and return it. A checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.state == last:
            await self._changed.wait()
        return self.state


class StateChanges:
    """`async for state in channel.states()`: the state now, then each different one, to SHUTDOWN.

    A loop that is slower than the changes misses those that were passed through meanwhile, never
    the newest: nothing is queued.
    """

    def __init__(self, connectivity: Connectivity) -> None:
        self._connectivity = connectivity
        self._last: ConnectivityState | str = ""

    def __aiter__(self) -> StateChanges:
        return self

    async def __anext__(self) -> ConnectivityState:
        """Wait for a state other than the last one. Cancelled, it can be asked again."""
        if self._last == ConnectivityState.SHUTDOWN:
            raise StopAsyncIteration
        self._last = await self._connectivity.wait_change(self._last)
        return self._last


class Watched:
    """What a channel lets everybody know of its state."""

    _connectivity: Connectivity

    @property
    def state(self) -> ConnectivityState:
        """What the channel is doing about its connections, right now."""
        return self._connectivity.state

    async def wait_for_state_change(self, last: ConnectivityState | str) -> ConnectivityState:
        """Wait until the state is another than `last`, and return it. A checkpoint.

        States that were passed through meanwhile are not reported. Never connects by itself.
        Cancelling it changes nothing.
        """
        return await self._connectivity.wait_change(last)

    def states(self) -> StateChanges:
        """`async for state in channel.states()`: the state now, then each change, to SHUTDOWN."""
        return StateChanges(self._connectivity)
