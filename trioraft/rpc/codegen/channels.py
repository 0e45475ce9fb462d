"""The requests and replies of a call as Trio channels.

While a channel is open, the call itself is iterated and sent to: nothing here runs per message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Generic, TypeVar

import trio

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.metadata import Metadata

__all__ = ["Replies", "Requests", "Upload"]

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Replies(trio.abc.ReceiveChannel[Reply]):
    """The replies of a call: `async for reply in replies`, or one by one.

    A call that has failed raises its GRPCError once the replies before it are taken, so a stream
    that broke never looks like one that ended.
    """

    __slots__ = ("_closed", "stream")

    def __init__(self, stream: ClientStream[Any, Reply]) -> None:
        #: The call itself, with everything else that it can do.
        self.stream: ClientStream[Any, Reply] = stream
        self._closed = False

    @property
    def initial_metadata(self) -> Metadata | None:
        """The server's initial metadata; None until it is here."""
        return self.stream.initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:
        """The server's trailing metadata; None until it is here, as it is once replies end."""
        return self.stream.trailing_metadata

    async def receive(self) -> Reply:
        """Wait for the next reply. Cancelling takes nothing.

        Raises:
            trio.EndOfChannel: The server has ended the call with OK.
            GRPCError: As `ClientStream.recv_message`.
            trio.ClosedResourceError: After `aclose`.
            trio.BusyResourceError: Another task is receiving.
        """
        if self._closed:
            raise trio.ClosedResourceError
        reply = await self.stream.recv_message()
        if reply is None:
            raise trio.EndOfChannel
        return reply

    def __aiter__(self) -> AsyncIterator[Reply]:  # type: ignore[override]
        # The call iterates itself: nothing of ours runs per message.
        if self._closed:
            raise trio.ClosedResourceError
        return self.stream

    async def aclose(self) -> None:
        """Receive no more: cancels the call if it has not ended. Cancelled, it has done so."""
        await self.leave()
        await trio.lowlevel.checkpoint()

    async def leave(self) -> None:
        """As `aclose`, without a checkpoint. Of a call that has ended it changes nothing.

        Never waits.
        """
        self._closed = True
        if not self.stream.cancelled:
            await self.stream.cancel()


class Requests(trio.abc.SendChannel[Request]):
    """Where the requests of a call go.

    Closing it is the end of the requests, which the server sees as such. Leaving its block by an
    exception is none: the server must not take what was sent until then for all there is.
    """

    def __init__(self, stream: ClientStream[Request, Any]) -> None:
        #: The call itself, with everything else that it can do.
        self.stream = stream
        self._half_closed = False
        # While this is open, the call sends itself: nothing of ours runs per message.
        self.__dict__["send"] = stream.send_message

    async def send(self, value: Request) -> None:
        """Send one request, as `ClientStream.send_message` does: waits while too much is unsent.

        Cancelled while waiting, the request is not sent.

        Raises:
            GRPCError: The call has failed with this status. RESOURCE_EXHAUSTED: over the limit.
            TypeError: Not a message of the method's request type.
            trio.ClosedResourceError: After `aclose`.
        """
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        """End the requests. Does nothing the second time. Cancelled, it has ended them.

        Raises:
            GRPCError: UNAVAILABLE: the connection has just gone.
        """
        await self.half_close()
        await trio.lowlevel.checkpoint()

    async def half_close(self) -> None:
        """As `aclose`, without a checkpoint. Never waits."""
        self._shut()
        if not self._half_closed:
            self._half_closed = True
            await self.stream.end()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the requests as `aclose` does, unless an exception ends the block.

        Cancelled, it has ended them.
        """
        if error is None:
            await self.aclose()
        else:
            self._shut()

    def _shut(self) -> None:
        self.__dict__.pop("send", None)


class Upload(Requests[Request], Generic[Request, Reply]):
    """A call that streams requests and gets one reply: `send`, `send`, ..., `reply`."""

    def __init__(self, stream: ClientStream[Request, Reply]) -> None:
        super().__init__(stream)
        self._reply: Reply | None = None

    @property
    def initial_metadata(self) -> Metadata | None:
        """The server's initial metadata; None until it is here."""
        return self.stream.initial_metadata

    @property
    def trailing_metadata(self) -> Metadata | None:
        """The server's trailing metadata; None until it is here, as it is with the reply."""
        return self.stream.trailing_metadata

    async def reply(self) -> Reply:
        """End the requests and wait for the reply; the same reply if asked again.

        Cancelling it leaves the call open: it can be asked again.

        Raises:
            GRPCError: The call's status if not OK; as `ClientStream.recv_message`.
            trio.BusyResourceError: Another task is waiting for it.
        """
        if self._reply is None:
            await self.half_close()
            self._reply = await self.stream.recv_message()
        assert self._reply is not None
        return self._reply

    async def leave(self) -> None:
        """The block ends: cancels the call, unless its reply is here. Never waits."""
        self._shut()
        if self._reply is None and not self.stream.cancelled:
            await self.stream.cancel()
