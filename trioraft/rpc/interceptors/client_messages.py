"""A client's call whose messages interceptors see, or which one of them has answered."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio
from multidict import MultiDict

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.metadata import Metadata
from trioraft.rpc.status import GRPCError, Status

from .onion import Hook, Traffic, through

__all__ = ["WatchedClientStream"]

S = TypeVar("S")
R = TypeVar("R")


class WatchedClientStream(ClientStream[S, R]):
    """The part of an `InterceptedClientStream` that is about messages. Internal."""

    traffic: Traffic | None = None
    #: Hooks in the order in which they see a message.
    inward: tuple[Hook, ...] = ()
    outward: tuple[Hook, ...] = ()
    _answered = False  # by an interceptor, with `_answer`
    _answer: Any = None

    def answer_with(self, reply: Any) -> None:
        """See `ClientCall.respond`."""
        self._answered, self._answer = True, reply

    # ---- messages ----------------------------------------------------------------------------

    # Plain functions that hand on a coroutine: none of ours is in the way of each message.

    def send_request(self, *, end: bool = False) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().send_request(end=end)

    def send_message(
        self, message: S, *, end: bool = False, compress: bool = True
    ) -> Coroutine[Any, Any, None]:
        if self.outward:
            message = self._outgoing(message)
        if self._answered:
            return _nothing()
        return super().send_message(message, end=end, compress=compress)

    def send_message_nowait(self, message: S, *, end: bool = False, compress: bool = True) -> None:
        changed = self._outgoing(message)
        if not self._answered:
            super().send_message_nowait(changed, end=end, compress=compress)

    def queue_message(self, message: S) -> None:
        changed = self._outgoing(message)
        if not self._answered:
            super().queue_message(changed)

    def end(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().end()

    async def cancel(self) -> None:
        if self._answered:
            self._cancelled = True
        else:
            await super().cancel()

    def _outgoing(self, message: Any) -> Any:
        if self._answered or not self.outward:
            return message
        return through(self.outward, message)

    def _send(self, data: bytes, end: bool, *, wake: bool = True) -> None:
        super()._send(data, end, wake=wake)
        if self.traffic is not None:
            self.traffic.sent += 1
            self.traffic.sent_bytes += len(data)

    def _take(self) -> R:
        size = len(self._inbox[0])
        message = super()._take()
        if self.traffic is not None:
            self.traffic.received += 1
            self.traffic.received_bytes += size
        return self._incoming(message) if self.inward else message

    def _incoming(self, message: Any) -> Any:
        try:
            return through(self.inward, message)
        except GRPCError:
            raise
        except Exception as error:
            raise GRPCError(Status.INTERNAL, f"an interceptor's hook failed: {error!r}") from error

    def recv_message(self) -> Coroutine[Any, Any, R | None]:
        return self._recv_answer() if self._answered else super().recv_message()

    async def _recv_answer(self) -> R | None:
        return self.recv_message_nowait()

    def recv_message_nowait(self) -> R | None:
        if not self._answered:
            return super().recv_message_nowait()
        if self._taken:
            return None
        self._taken = True
        reply: R = self._incoming(self._answer)
        return reply

    async def deliver(self, sink: Callable[[list[R]], bool]) -> bool:
        if not self._answered:
            return await super().deliver(sink)
        await trio.lowlevel.checkpoint()
        reply = self.recv_message_nowait()
        return reply is not None and sink([reply])

    def recv_initial_metadata(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().recv_initial_metadata()

    def recv_trailing_metadata(self) -> Coroutine[Any, Any, None]:
        return _nothing() if self._answered else super().recv_trailing_metadata()

    @property
    def initial_metadata(self) -> Metadata | None:
        return MultiDict() if self._answered else super().initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:
        return MultiDict() if self._answered else super().trailing_metadata


async def _nothing() -> None:
    pass
