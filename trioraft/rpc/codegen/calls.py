"""The calling half of generated code: what the methods of a stub do.

A unary call is one coroutine. The other kinds are blocks whose requests and replies are Trio
channels; a block that is left before the replies have ended cancels its call, so it never waits
for a server that has more to say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias, TypedDict, TypeVar

from grpclib.const import Cardinality

from trioraft.rpc.client.channel import Channel
from trioraft.rpc.credentials import CallCredentials
from trioraft.rpc.metadata import Metadata, MetadataLike
from trioraft.rpc.timeout import Deadline

from .channels import Replies, Requests, Upload

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


# What the methods of a stub return: blocks to enter.
UnaryStreamCall: TypeAlias = AbstractAsyncContextManager[Replies[Reply]]
StreamUnaryCall: TypeAlias = AbstractAsyncContextManager[Upload[Request, Reply]]
StreamStreamCall: TypeAlias = AbstractAsyncContextManager[tuple[Requests[Request], Replies[Reply]]]
