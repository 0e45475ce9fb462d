"""A stream of replies that a channel keeps open on one connection, whatever its server does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import trio

from trioraft.rpc.client.connections.backoff import Backoff
from trioraft.rpc.status import GRPCError, Status

from .own import OwnCall

if TYPE_CHECKING:
    from trioraft.rpc.client.channel import Channel
    from trioraft.rpc.client.connections.connection import ClientConnection

__all__ = ["StandingCall"]


class StandingCall(ABC):
    """One request, sent again when the stream of its replies has ended.

    Streams are spaced as connections are; one that was answered begins the pauses anew. So a server
    that answers and hangs up at once is not asked without end, where gRPC's proposals (A17, A51)
    would ask it again immediately. One that does not know the service is not asked again.
    """

    def __init__(
        self,
        channel: Channel,
        connection: ClientConnection,
        path: str,
        request: bytes,
        reply_type: type[Any],
    ) -> None:
        self._channel = channel
        self._connection = connection
        self._path = path
        self._request = request
        self._reply_type = reply_type
        limits = channel.limits
        self._backoff = Backoff(limits.reconnect_min, limits.reconnect_max, channel.rng)

    async def run(self) -> None:
        """Task: until it is cancelled, or the server turns out not to know the service."""
        while await self._watch():
            self._next()

    async def _watch(self) -> bool:
        """One stream and the pause after it; whether there is to be another."""
        began = trio.current_time()
        due = self._backoff.begin(began)
        answered = False
        call = OwnCall(self._channel, self._path, self._reply_type)
        try:
            await self._ask(call)
            while (reply := await call.recv_message()) is not None:
                if not answered:
                    answered = True
                    self._backoff.reset()
                    due = self._backoff.begin(began)
                self._take(reply)
            reason = "has ended"
        except GRPCError as error:
            if error.status is Status.UNIMPLEMENTED:
                self._unknown()
                return False
            reason = f"has failed: {error.status.name}: {error.message}"
        finally:
            call.leave()
        self._lost(reason)
        await trio.sleep_until(due)
        return True

    async def _ask(self, call: OwnCall) -> None:
        """Send the request. Raises GRPCError."""
        call.begin(self._connection, await call.headers(), self._request)

    # ---- what comes of it; none of these may wait --------------------------------------------

    @abstractmethod
    def _take(self, reply: Any) -> None:
        """One reply."""

    @abstractmethod
    def _unknown(self) -> None:
        """The server does not know the service, and is asked no more."""

    @abstractmethod
    def _lost(self, reason: str) -> None:
        """The stream is over: `reason` says "has ended", or "has failed" and why."""

    @abstractmethod
    def _next(self) -> None:
        """The pause after it is over: another stream begins."""
