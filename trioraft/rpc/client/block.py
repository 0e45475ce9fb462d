"""The block that a channel's connections live in, and their state."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import trio

from trioraft.rpc.limits import Limits
from trioraft.rpc.registry import ChannelEntry, Registry
from trioraft.rpc.running import need_trio
from trioraft.rpc.wire.timers import Timers

from .connections.connectivity import Watched
from .connections.connector import Connector

__all__ = ["ChannelBlock"]


class ChannelBlock(Watched):
    """A channel as `async with` sees it. `Channel` adds the calls."""

    # Set by `Channel`.
    target: str
    limits: Limits
    connector: Connector
    #: In the register, if there is one, while the channel is open.
    entry: ChannelEntry | None
    timers: Timers  # of its calls
    _registry: Registry | None
    _manager: Any  # of the nursery, once the channel was opened
    _nursery: trio.Nursery | None  # while it is open

    async def __aenter__(self) -> Self:
        """Begin the channel's block; nothing is dialled yet. Never waits.

        Raises:
            RuntimeError: The channel was opened already, or Trio does not run.
        """
        if self._manager is not None:
            raise RuntimeError("this channel was opened already")
        need_trio("open_channel")
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        if self._registry is not None:
            most = self.limits.max_connections_per_address
            self.entry = self._registry.add_channel(self.target, most)
        self._nursery.start_soon(self.timers.run)
        self.connector.open(self._nursery, self.entry)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every call with UNAVAILABLE, then the connections.

        Takes no longer than `Limits.close_timeout`, also when it is cancelled: nothing is left.
        """
        nursery, self._nursery = self._nursery, None
        assert nursery is not None
        # The block's own exception must come out as it is, neither in the nursery's group nor, if
        # it is a cancellation, swallowed by the scope that we cancel: the nursery does not get to
        # see it. The shield is against a cancellation while we close, which takes no longer than
        # `Limits.close_timeout`.
        self.connector.close()
        nursery.cancel_scope.shield = True
        nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        finally:
            if self._registry is not None and self.entry is not None:
                self._registry.remove_channel(self.entry)

    def connect(self) -> None:
        """Begin to connect without a call, if the state is IDLE. Never waits.

        Raises:
            RuntimeError: Outside of the channel's `async with` block.
        """
        if self._nursery is None:
            raise RuntimeError("the channel is not open: use it inside `async with`")
        self.connector.leave_idle()
