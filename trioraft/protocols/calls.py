"""Calls between nodes, on both ends, whatever their messages: what every dialect does alike.

`unreachable` turns the failures of an outgoing call into the one error that the runtime knows.
`AppendCall` serves an incoming stream of appends whose answers come later, from the driver of
the group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from trioraft.node.peers import PeerUnreachableError
from trioraft.raft.errors import ConfigurationError, TrioraftError
from trioraft.raft.types import Member, Session
from trioraft.rpc import GRPCError, ProtocolError, Status

if TYPE_CHECKING:
    from trioraft.node.peers import PeerHandler
    from trioraft.rpc import ServerStream

__all__ = [
    "MAX_PENDING",
    "MAX_UNANSWERED",
    "STALL_TIMEOUT",
    "AppendCall",
    "AppendStalledError",
    "check_call_id",
    "check_pending",
    "unreachable",
]

#: Appends of one incoming stream that are taken in and not answered; beyond it nothing is read.
MAX_UNANSWERED = 1024
#: Appends of one outgoing stream that are sent and not answered; beyond it the stream is given up.
MAX_PENDING = 4096
#: Seconds that the last appends of a stream may wait for their answers; then the call ends.
STALL_TIMEOUT = 10.0


class AppendStalledError(TrioraftError):
    """Appends were not answered in time, as when their group has stopped; the stream is closed."""


@contextmanager
def unreachable(peer: Member) -> Iterator[None]:
    """Raise PeerUnreachableError, naming the peer, for a failed call or an undecodable answer."""
    try:
        yield
    except GRPCError as error:
        reason = f"{error.status.name}: {error.message}"
        raise PeerUnreachableError(f"{peer.id} at {peer.address}: {reason}") from error
    except (ProtocolError, ValueError) as error:
        raise PeerUnreachableError(f"{peer.id} at {peer.address}: {error}") from error


def check_call_id(session: Session) -> None:
    """Raises ConfigurationError for a call id that is not an unsigned 64-bit number."""
    if not 0 <= session.call_id < 2**64:
        raise ConfigurationError(f"call id {session.call_id}: must be from 0 to 2^64-1")


def check_pending(pending: Sized) -> None:
    """Raises ValueError when a stream has as many unanswered appends as it may have."""
    if len(pending) >= MAX_PENDING:
        raise ValueError(f"{MAX_PENDING} appends are unanswered")


class AppendCall(ABC):
    """One incoming stream of appends.

    Requests are taken in where the connection is read, and the group's turn follows in the same
    place: no other task is woken for them. Answers are handed to `send` by the group's driver,
    without waiting. A subclass says what a request and an answer look like.
    """

    def __init__(self, stream: ServerStream[Any, Any]) -> None:
        self._stream = stream
        self._scope = trio.CancelScope()
        self._answered = trio.lowlevel.ParkingLot()
        self._unanswered = 0
        self._finished = False
        self._error: GRPCError | None = None

    @abstractmethod
    def take(self, message: Any) -> PeerHandler:
        """Hand one request to its group, which is returned; `send` is called for it later, once.

        What it raises ends the call.
        """

    async def serve(self) -> None:
        """Run the call until the caller has ended its direction and everything is answered.

        Raises what `take` raises, GRPCError for a broken stream, and AppendStalledError.
        Cancelling it drops the answers that are still to come.
        """
        try:
            with self._scope:
                await self._run()
        finally:
            finished, self._finished = self._finished, True
        if self._error is not None:
            raise self._error
        if self._scope.cancelled_caught and not finished:
            raise AppendStalledError(f"no answer to an append in {STALL_TIMEOUT:g} s")

    async def _run(self) -> None:
        while await self._stream.deliver(self._take_in):
            while self._unanswered >= MAX_UNANSWERED:
                await self._answered.park()
            await self._stream.wait_writable()
        while self._unanswered:
            await self._answered.park()

    def _take_in(self, messages: Sequence[Any]) -> bool:
        """Take what one read of the socket brought; False if nothing more is to be read yet."""
        handlers: list[PeerHandler] = []
        try:
            for message in messages:
                if self._finished:
                    break
                self._unanswered += 1
                handler = self.take(message)
                if handler not in handlers:
                    handlers.append(handler)
        finally:
            for handler in handlers:
                handler.settle()
        if self._unanswered and not self._finished:
            self._scope.deadline = trio.current_time() + STALL_TIMEOUT
        return self._unanswered < MAX_UNANSWERED and not self._stream.crowded

    def send(self, message: Any) -> Callable[[], None]:
        """Answer one request that was taken; dropped if the call is over. Never waits or raises.

        Returns what flushes the answer; it must be called before anything else runs.
        """
        self._unanswered -= 1
        flush = self._stream.flush
        if self._finished:
            return flush
        try:
            self._stream.queue_message(message)
        except trio.WouldBlock:
            self.finish(GRPCError(Status.RESOURCE_EXHAUSTED, "the answers are not being read"))
        except (GRPCError, ProtocolError) as error:
            self.finish(GRPCError(Status.UNAVAILABLE, f"cannot answer: {error}"))
        else:
            if not self._unanswered:
                self._scope.deadline = float("inf")
            self._answered.unpark()
        return flush

    def finish(self, error: GRPCError | None = None) -> None:
        """End the call: with status OK behind what was sent, or with `error`. Never waits."""
        if not self._finished:
            self._finished = True
            self._error = error
            self._scope.cancel()
