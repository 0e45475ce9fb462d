"""The serving half of generated code: from a call to a handler's arguments, and back.

A generated base class maps each path to one of the four functions here. They make what `serve`
takes, grpclib's `Handler`, so both kinds of services mix on one server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import trio
from grpclib.const import Cardinality, Handler

from trioraft.rpc.server.stream import ServerStream
from trioraft.rpc.status import GRPCError, Status

from .checks import checked

__all__ = [
    "current_call",
    "stream_stream",
    "stream_unary",
    "unary_stream",
    "unary_unary",
    "unimplemented",
]

Request = TypeVar("Request")
Reply = TypeVar("Reply")

_current: ContextVar[ServerStream[Any, Any]] = ContextVar("trioraft.rpc.current_call")


def current_call() -> ServerStream[Any, Any]:
    """The call that a generated service's handler is serving: metadata, peer, deadline, trailers.

    Works in the handler's task and in those of its nurseries. Not for grpclib's services, whose
    handlers have the call as their argument.

    Raises:
        RuntimeError: No handler of a generated service is running here.
    """
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("no handler of a generated service is running here") from None


def unimplemented(path: str) -> GRPCError:
    """What a method that its service does not override answers."""
    return GRPCError(Status.UNIMPLEMENTED, f"{path} is not implemented here")


def unary_unary(
    method: Callable[[Request], Awaitable[Reply]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """Serve `async def method(request) -> reply`. Raises as `checked`."""
    answer = checked(method, "request")

    async def handle(call: ServerStream[Any, Any]) -> None:
        _current.set(call)
        # The request is here as a rule, and one reply always fits: neither needs a coroutine.
        request = call.recv_message_nowait()
        if request is None:
            request = await call.recv_message()
            assert request is not None
        call.send_message_nowait(await answer(request))

    return Handler(handle, Cardinality.UNARY_UNARY, request_type, reply_type)


def unary_stream(
    method: Callable[[Request, trio.abc.SendChannel[Reply]], Awaitable[None]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """Serve `async def method(request, replies) -> None`. Raises as `checked`."""
    answer = checked(method, "request", "replies")

    async def handle(call: ServerStream[Any, Any]) -> None:
        _current.set(call)
        request = call.recv_message_nowait()
        if request is None:
            request = await call.recv_message()
            assert request is not None
        await answer(request, _Replies(call))

    return Handler(handle, Cardinality.UNARY_STREAM, request_type, reply_type)


def stream_unary(
    method: Callable[[trio.abc.ReceiveChannel[Request]], Awaitable[Reply]],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """Serve `async def method(requests) -> reply`. Raises as `checked`."""
    answer = checked(method, "requests")

    async def handle(call: ServerStream[Any, Any]) -> None:
        _current.set(call)
        call.send_message_nowait(await answer(_Requests(call)))

    return Handler(handle, Cardinality.STREAM_UNARY, request_type, reply_type)


def stream_stream(
    method: Callable[
        [trio.abc.ReceiveChannel[Request], trio.abc.SendChannel[Reply]], Awaitable[None]
    ],
    request_type: type[Request],
    reply_type: type[Reply],
) -> Handler:
    """Serve `async def method(requests, replies) -> None`. Raises as `checked`."""
    answer = checked(method, "requests", "replies")

    async def handle(call: ServerStream[Any, Any]) -> None:
        _current.set(call)
        await answer(_Requests(call), _Replies(call))

    return Handler(handle, Cardinality.STREAM_STREAM, request_type, reply_type)


class _Requests(trio.abc.ReceiveChannel[Request]):
    """What the caller streams, as a handler sees it; ends when the caller half-closes."""

    __slots__ = ("_call", "_closed")

    def __init__(self, call: ServerStream[Any, Request]) -> None:
        self._call = call
        self._closed = False

    async def receive(self) -> Request:
        """Wait for the next request, as `ServerStream.recv_message` does. Cancelling takes nothing.

        Raises:
            trio.EndOfChannel: The caller has ended its stream.
            GRPCError: As `recv_message`.
            trio.ClosedResourceError: After `aclose`.
        """
        if self._closed:
            raise trio.ClosedResourceError
        request = await self._call.recv_message()
        if request is None:
            raise trio.EndOfChannel
        return request

    def __aiter__(self) -> AsyncIterator[Request]:  # type: ignore[override]
        # The call iterates itself: nothing of ours runs per message.
        if self._closed:
            raise trio.ClosedResourceError
        return self._call

    async def aclose(self) -> None:
        """Receive no more. What the caller still sends stays unread, within the call's window.

        Cancelled, it has done so.
        """
        self._closed = True
        await trio.lowlevel.checkpoint()


class _Replies(trio.abc.SendChannel[Reply]):
    """Where a handler sends its replies.

    Closing it says that there are no more. The call goes on until the handler returns or raises:
    only that decides its status.
    """

    def __init__(self, call: ServerStream[Reply, Any]) -> None:
        # While this is open, the call sends itself: nothing of ours runs per message.
        self.__dict__["send"] = call.send_message

    async def send(self, value: Reply) -> None:
        """Send one reply, as `ServerStream.send_message` does: waits while too much is unsent.

        Cancelled while waiting, the reply is not sent.

        Raises:
            trio.ClosedResourceError: After `aclose`.
            ProtocolError, GRPCError, TypeError: As `send_message`.
        """
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        """Send no more. Cancelled, it has done so."""
        self.__dict__.pop("send", None)
        await trio.lowlevel.checkpoint()
