"""Where the connections to one simulated address come out."""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import checkpoint

from .addresses import refused
from .stream import SimStream

__all__ = ["SimListener"]


class SimListener(trio.abc.Listener[SimStream]):
    """Accepts the connections made to one simulated address."""

    def __init__(self, address: str, backlog: int, on_close: Callable[[], None]) -> None:
        self.address = address
        self._on_close = on_close
        self._queue, self._accepting = trio.open_memory_channel[SimStream](backlog)

    def __repr__(self) -> str:
        return f"<SimListener {self.address}>"

    async def accept(self) -> SimStream:
        """Wait for the next connection. Cancelling loses none.

        Raises ClosedResourceError once the listener is closed.
        """
        return await self._accepting.receive()

    async def aclose(self) -> None:
        """Stop listening; connections nobody accepted are reset. Closes even when cancelled."""
        self.close()
        await checkpoint()

    def close(self) -> None:
        """`aclose` without the checkpoint."""
        self._on_close()
        self._drain()
        self._accepting.close()
        self._queue.close()

    async def enqueue(self, stream: SimStream) -> None:
        """Offer a connection, waiting while the backlog is full, as a lost SYN would.

        Raises ConnectionRefusedError when the listener closes meanwhile.
        """
        try:
            await self._queue.send(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise refused(self.address) from None

    def _drain(self) -> None:
        while True:
            try:
                waiting = self._accepting.receive_nowait()
            except (trio.WouldBlock, trio.ClosedResourceError):
                return
            waiting.sever("its listener was closed")
