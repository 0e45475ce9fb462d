"""The calling half of generated code: what the methods of a stub do.

A unary call is one coroutine. The other kinds are blocks whose requests and replies are Trio
channels; a block that is left before the replies have ended cancels its call, so it never waits
for a server that has more to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar

import trio
from grpclib.const import Cardinality

from trioraft.rpc.client.calls.stream import ClientStream
from trioraft.rpc.client.channel import Channel
from trioraft.rpc.credentials import CallCredentials
from trioraft.rpc.metadata import Metadata, MetadataLike
from trioraft.rpc.timeout import Deadline

__all__ = [
    "CallOptions",
    "Replies",
    "ReplyMetadata",
    "Requests",
    "StreamStreamCall",
    "StreamUnaryCall",
    "UnaryStreamCall",
    "Upload",
    "stream_stream",
    "stream_unary",
    "unary_stream",
    "unary_unary",
]

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class CallOptions(TypedDict, total=False):
    """What every method of a stub takes by keyword, as `Channel.request` does.

    timeout: Seconds from the start of the call until GRPCError(DEADLINE_EXCEEDED).
    deadline: The same as a point in time; the earlier of the two counts.
    metadata: Custom metadata, a mapping or pairs.
    compression: Encoding of the requests, `"identity"` for none, in place of the channel's.
    wait_for_ready: Whether the call waits while there is no connection and none to be had, until
        its deadline, instead of failing with UNAVAILABLE. None: as the channel.
    credentials: Asked for metadata besides those of the channel.
    """

    timeout: float | None
    deadline: Deadline | None
    metadata: MetadataLike | None
    compression: str | None
    wait_for_ready: bool | None
    credentials: CallCredentials | None


class ReplyMetadata:
    """Handed to a unary call, it is filled with the metadata of the reply, or of the failure.

    initial, trailing: None if they have not come.
    """

    initial: Metadata | None = None
    trailing: Metadata | None = None


async def unary_unary(
    channel: Channel,
    path: str,
    request_type: type[Request],
    reply_type: type[Reply],
    request: Request,
    received: ReplyMetadata | None,
    options: CallOptions,
) -> Reply:
    """Send one request and wait for its reply. Cancelling it cancels the server's handler.

    Raises:
        GRPCError: The call's status if not OK; as `ClientStream.recv_message`.
        TypeError, ValueError: The request is of another type; the metadata is not valid.
    """
    stream = channel.request(path, Cardinality.UNARY_UNARY, request_type, reply_type, **options)
    stream.waits_alone = True
    try:
        async with stream:
            await stream.send_message(request, end=True)
            reply: Reply | None = await stream.recv_message()
    finally:
        if received is not None:
            received.initial = stream.initial_metadata
            received.trailing = stream.trailing_metadata
    assert reply is not None
    return reply


@asynccontextmanager
async def unary_stream(
    channel: Channel,
    path: str,
    request_type: type[Request],
    reply_type: type[Reply],
    request: Request,
    options: CallOptions,
) -> AsyncIterator[Replies[Reply]]:
    """Send one request; the block has the replies."""
    kind = Cardinality.UNARY_STREAM
    async with channel.request(path, kind, request_type, reply_type, **options) as stream:
        await stream.send_message(request, end=True)
        replies: Replies[Reply] = Replies(stream)
        yield replies
        await replies.leave()


@asynccontextmanager
async def stream_unary(
    channel: Channel,
    path: str,
    request_type: type[Request],
    reply_type: type[Reply],
    options: CallOptions,
) -> AsyncIterator[Upload[Request, Reply]]:
    """Open a call; the block sends requests and asks for the reply."""
    kind = Cardinality.STREAM_UNARY
    async with channel.request(path, kind, request_type, reply_type, **options) as stream:
        await stream.send_request()
        upload: Upload[Request, Reply] = Upload(stream)
        yield upload
        await upload.leave()


@asynccontextmanager
async def stream_stream(
    channel: Channel,
    path: str,
    request_type: type[Request],
    reply_type: type[Reply],
    options: CallOptions,
) -> AsyncIterator[tuple[Requests[Request], Replies[Reply]]]:
    """Open a call; the block sends requests and receives replies, in any order or at once."""
    kind = Cardinality.STREAM_STREAM
    async with channel.request(path, kind, request_type, reply_type, **options) as stream:
        await stream.send_request()
        requests: Requests[Request] = Requests(stream)
        replies: Replies[Reply] = Replies(stream)
        yield requests, replies
        await replies.leave()


class Replies(trio.abc.ReceiveChannel[Reply]):
    """The replies of a call: `async for reply in replies`, or one by one.

    A call that has failed raises its GRPCError once the replies before it are taken, so a stream
    that broke never looks like one that ended.
    """

    __slots__ = ("_closed", "stream")

    def __init__(self, stream: ClientStream[Any, Reply]) -> None:
        #: The call itself, with everything else that it can do.
        self.stream = stream
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


# What the methods of a stub return: blocks to enter.
UnaryStreamCall: TypeAlias = AbstractAsyncContextManager[Replies[Reply]]
StreamUnaryCall: TypeAlias = AbstractAsyncContextManager[Upload[Request, Reply]]
StreamStreamCall: TypeAlias = AbstractAsyncContextManager[tuple[Requests[Request], Replies[Reply]]]
