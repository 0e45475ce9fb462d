"""A call that is made up of attempts: what retrying and hedging have in common.

Until the call is committed, what the application sends goes to every attempt that is open and is
kept for those to come. The call is committed when an attempt is answered, or when what it has sent
is more than is kept: then that attempt's stream becomes the call's own, and it goes on like any
other. Source: gRFC A6, "When Retries are Valid".
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import trio

from trioraft.rpc.metadata import encode_metadata
from trioraft.rpc.status import GRPCError, Status
from trioraft.rpc.wire.call import misuse
from trioraft.rpc.wire.flow import FAIR_SHARE
from trioraft.rpc.wire.http2 import ErrorCode

from .attempt import Attempt
from .repeating import RepeatingCall

if TYPE_CHECKING:
    from trioraft.rpc.peer import Peer

S = TypeVar("S")
R = TypeVar("R")


class RepeatedStream(RepeatingCall[S, R]):
    """A `ClientStream` that may be made again. Subclasses say when.

    Attempts run in a nursery that the call's block owns, so a call with a policy must be used as
    a block. Leaving it ends every attempt.
    """

    # ---- the block ---------------------------------------------------------------------------

    async def __aenter__(self) -> RepeatedStream[S, R]:
        """As `ClientStream`. Never waits."""
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self.waits_alone = False  # but for its attempts, too
        await super().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As `ClientStream`; cancelled or not, no attempt and no task of it is left."""
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            assert self._nursery is not None
            self._settled()
            if self.attempts is not None and self._winner:
                status = Status.OK if self._failure is None else self._failure.status
                self.attempts.ended(self._winner, status)
            # As in a channel: the nursery never sees the block's own exception, and the shield is
            # against a cancellation meanwhile. Nothing in there waits for more than its turn.
            self._nursery.cancel_scope.shield = True
            self._nursery.cancel_scope.cancel()
            await self._manager.__aexit__(None, None, None)

    # ---- sending -----------------------------------------------------------------------------

    async def send_request(self, *, end: bool = False) -> None:
        """Begin: waits until the first attempt has a stream, through pauses if need be.

        Cancelled, or with the deadline passed already, nothing is sent and the call has ended.

        Raises:
            GRPCError: The call has failed: no connection, and why, after as many attempts as the
                policy allows. RESOURCE_EXHAUSTED: too many calls wait.
            ProtocolError: Sent already, `end` on a call that takes one message, or no block.
            ValueError, TypeError: The metadata is not valid; see `encode_metadata`.
        """
        if self._sent_request:
            raise misuse("the request was sent already")
        if end and not self._cardinality.client_streaming:
            raise misuse("a unary request takes a message before it ends")
        if self._nursery is None:
            raise misuse("a call that may be made again is to be used in its block: async with")
        self._fields = encode_metadata(self._metadata) if self._metadata else []
        at = self._time_limit()
        if at <= trio.current_time():
            await trio.lowlevel.checkpoint()
        self._until = at if self._channel.inherit_deadlines else self._own_limit
        self._sent_request = True
        self._sent_end = end
        try:
            self._begin()
            await self._until_settled(self._try)
            while not self._begun and self._failure is None:
                await self._changed.park()
        except BaseException:
            self.give_up(GRPCError(Status.CANCELLED, "cancelled before it was sent"))
            raise
        self._raise_failure()

    def _send(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        if self._committed:
            super()._send(data, end, wake=wake)
            return
        ended = end or not self._cardinality.client_streaming
        self._sent_message = True
        self._streak += 1
        streams = self._streams()
        if not self._sent.add(data):
            if streams:
                self.commit(streams[0])
                self._put(data, ended, wake=wake)
                return
            self._sent.force(data)
            self._full = True
            self._streak = FAIR_SHARE  # the next one takes the slow path, and waits
        self._sent_end = ended
        for attempt in streams:
            attempt.pass_on(data, ended, wake=wake)
            if wake:
                attempt._connection.queued(2 if ended else 1)

    def _streams(self) -> list[Attempt]:
        """The attempts that are open, the oldest first. All have been sent the same."""
        return [attempt for attempt in self._open_attempts if attempt._sent_request]

    async def end(self) -> None:
        """End our direction of the stream. Never waits.

        Raises:
            ProtocolError: Not open yet, ended already, or a unary request without its message.
            GRPCError: UNAVAILABLE: the connection has just gone.
        """
        if (
            self._committed
            or self._sent_end
            or not (self._sent_request and self._cardinality.client_streaming)
        ):
            await super().end()
            return
        self._sent_end = True
        for attempt in self._streams():
            attempt.end_sending()

    @property
    def flush(self) -> Callable[[], None]:
        """As `ClientStream.flush`; before the call is committed, for every attempt."""
        if self._committed and self._begun:
            return super().flush
        return self._flush_attempts

    def _flush_attempts(self) -> None:
        for attempt in self._streams():
            attempt._connection.flush()

    @property
    def crowded(self) -> bool:
        """Whether sending would wait: as any call's; before that, while no more can be kept."""
        return super().crowded if self._committed else self._full

    async def wait_writable(self) -> None:
        """As `ClientStream.wait_writable`. Cancelling it changes nothing."""
        while self._full and not self._committed:
            await self._changed.park()
        await super().wait_writable()

    def _reset(self, code: int = ErrorCode.CANCEL) -> None:
        if self._committed:
            super()._reset(code)
        else:
            self._closed = True
            self._settled()

    @property
    def peer(self) -> Peer | None:
        """The server's address, of the newest attempt until one is answered; None before."""
        return super().peer if self._begun else None
