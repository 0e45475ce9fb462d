"""How the task that uses a call gets its messages: one by one, all that are here, or by a sink.

Compressed messages are inflated by the task that takes them, in slices between which it gives way
(`compression/bounded.py`); of those that wait, at most the first is inflated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Self, TypeVar

import trio

from trioraft.rpc.compression.bounded import Inflation
from trioraft.rpc.status import GRPCError

from .flow import FAIR_SHARE, Flow
from .framing import body_size

__all__ = ["Taking"]

R = TypeVar("R")

# Inflated bytes that one call takes beyond its first message: their compressed size says nothing.
_INFLATED_AT_ONCE = 1024 * 1024


class Taking(Flow, Generic[R]):
    """The application's side of what a call receives. `Receiving` adds the connection's."""

    _ended = False  # the peer has ended its direction
    _sink: Callable[[list[R]], bool] | None = None  # while `deliver` runs
    _sink_error: Exception | None = None
    _inflating: bool  # set by `Receiving`, as the state of `Flow` is
    _take: Callable[[], R]  # of `Receiving`: the first message, decoded

    # ---- one by one --------------------------------------------------------------------------

    async def recv_message(self) -> R | None:
        """Wait for the next message; None is the end of the stream. See the subclasses."""
        return await self._receive()

    def recv_message_nowait(self) -> R | None:
        """The next message if one has arrived already, else None.

        None does not tell whether the stream has ended: `recv_message` does. Of a large compressed
        message each call inflates one slice, of about a millisecond, until it is there.

        Raises:
            GRPCError: INTERNAL if the message cannot be decoded or inflated; RESOURCE_EXHAUSTED
                if it is over the limit when it is inflated.
        """
        if not self._inbox or (self._inflating and not self._inflate()):
            return None
        return self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        """The next message, as `recv_message`. Cancelling takes nothing."""
        if self._inbox and self._streak < FAIR_SHARE and not self._inflating:
            self._streak += 1
            return self._take()
        message = await self.recv_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def _receive(self) -> R | None:
        self._streak += 1
        if self._streak > FAIR_SHARE:
            self._streak = 0
            await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self._failure is not None:
                self._raise_failure()
            if self._ended:
                return None
            await self._wait_readable()
        if self._inflating and not self._inflate():
            return await self._receive_slowly()
        return self._take()

    # ---- inflating ---------------------------------------------------------------------------

    async def _receive_slowly(self) -> R | None:
        """Inflate a large message in slices. Cancelled, it goes on where it was next time."""
        while self._inbox and not self._inflate():
            await trio.lowlevel.checkpoint()
        # It may have been taken, or dropped, by somebody else meanwhile.
        return self._take() if self._inbox else await self._receive()

    async def _peek(self) -> bytes:
        """The bytes of the first message, which stays where it is. There has to be one.

        Raises:
            GRPCError: As `_inflate` does.
        """
        while not self._inflate():
            await trio.lowlevel.checkpoint()
        first = self._inbox[0]
        return first.result() if isinstance(first, Inflation) else first

    def _inflate(self) -> bool:
        """Inflate a slice of the first message; whether it can be taken.

        Raises:
            GRPCError: It cannot be inflated, or is over the limit: nothing further is received.
        """
        first = self._inbox[0]
        if not isinstance(first, Inflation):
            return True
        try:
            return first.step()
        except GRPCError as error:
            self._inbox.clear()
            self.refuse(error)
            raise

    # ---- all that are here -------------------------------------------------------------------

    async def receive_available(self) -> list[R]:
        """Wait for at least one message, then take all that have arrived.

        One wake-up for everything that a socket read brought. An empty list is the end of the
        stream. Of a call with compression it may leave some for the next time. Cancelling takes
        nothing.

        Raises:
            GRPCError: As `recv_message` does.
        """
        first = await self.recv_message()
        if first is None:
            return []
        return [first, *self._take_all()]

    def _take_all(self) -> list[R]:
        messages: list[R] = []
        room = _INFLATED_AT_ONCE
        while self._inbox:
            try:
                if self._inflating:
                    if room <= 0 or not self._inflate():
                        break
                    room -= body_size(self._inbox[0])
                messages.append(self._take())
            except GRPCError as error:
                # What is taken must not be lost: the next call raises.
                self._inbox.clear()
                self.refuse(error)
        return messages

    # ---- a sink ------------------------------------------------------------------------------

    async def deliver(self, sink: Callable[[list[R]], bool]) -> bool:
        """Have `sink` called with the messages as they arrive, without waking a task for them.

        `sink(messages)` gets everything that one read of the socket has brought, in order. It
        runs in the task that reads the connection, so it must be quick and must not wait; it may
        send with `send_message_nowait`. It returns whether it wants more: if not, `deliver`
        returns True, and what arrives meanwhile waits within the stream's window. If the peer may
        compress, `sink` runs in this task instead, where messages are inflated.

        Returns False at the end of the stream. Cancelling it leaves the messages that `sink` has
        not been given to the next call. A checkpoint.

        Raises:
            GRPCError: As `recv_message` does.
            Exception: What `sink` has raised; it is not called again.
        """
        await trio.lowlevel.checkpoint()
        self._sink = sink
        try:
            self.hand_over()
            while self._delivering:
                if self._inflating:
                    return await self._deliver_here(sink)
                self._raise_failure()
                if self._ended:
                    return False
                await self._wait_readable()
        finally:
            self._sink = None
            error, self._sink_error = self._sink_error, None
        if error is not None:
            raise error
        return True

    async def _deliver_here(self, sink: Callable[[list[R]], bool]) -> bool:
        self._sink = None
        while messages := await self.receive_available():
            if not sink(messages):
                return True
        return False

    @property
    def _delivering(self) -> bool:
        return self._sink is not None

    def hand_over(self) -> None:
        """Give the sink what has arrived. If it has had enough or fails, `deliver` goes on."""
        sink = self._sink
        if sink is None or not self._inbox or self._inflating:
            return
        messages = self._take_all()
        try:
            wants_more = not messages or sink(messages)
        except Exception as error:  # `deliver` raises it, in the task whose call this is
            self._sink_error = error
            wants_more = False
        if not wants_more:
            self._sink = None
        if not wants_more or self._failure is not None:
            self._wake_reader()
