"""dRPC as gRPC over a Unix socket: the calling side."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio
from google.protobuf.message import DecodeError, Message
from grpclib.client import UnaryUnaryMethod

from trioraft._proto.drpc import drpc_pb2
from trioraft.rpc import Encoded, GRPCError, Limits, Status, open_channel

from .dispatcher import UNDECODED_SEQUENCE
from .errors import (
    DrpcError,
    DrpcProtocolError,
    DrpcStatus,
    DrpcUnavailableError,
    MarshalError,
    failure_for,
)
from .server import CALL_PATH, DEFAULT_MAX_MESSAGE

__all__ = ["DrpcClient", "open_drpc"]

_Reply = TypeVar("_Reply", bound=Message)


class DrpcClient:
    """Calls on one dRPC server. Get one from `open_drpc`; any number of tasks may share it."""

    def __init__(self, channel: Any, path: str, *, concurrent: bool) -> None:
        self._call = UnaryUnaryMethod(channel, CALL_PATH, Encoded, Encoded)
        self._path = path
        self._sequence = 0
        # dRPC allows one outstanding call per connection; so do we unless told otherwise.
        self._turn = trio.CapacityLimiter(1) if not concurrent else None

    async def call(self, module: int, method: int, body: bytes = b"") -> bytes:
        """Call a method; returns the body of its reply.

        Never repeats a call by itself. Cancelling it cancels the call on the server too; whether
        it was carried out is then unknown.

        Raises:
            DrpcFailure: the server answered another status than SUCCESS.
            DrpcUnavailableError: nobody serves the socket, or the connection was lost.
            DrpcProtocolError: the answer is not one to this call.
        """
        if self._turn is None:
            return await self._exchange(module, method, body)
        async with self._turn:
            return await self._exchange(module, method, body)

    async def call_message(
        self, module: int, method: int, request: Message, reply_type: type[_Reply]
    ) -> _Reply:
        """`call` with protobuf messages. Raises MarshalError too, for an undecodable reply."""
        body = await self.call(module, method, request.SerializeToString())
        try:
            return reply_type.FromString(body)
        except DecodeError as error:
            raise MarshalError(
                f"module {module} method {method}: the reply is not a {reply_type.__name__}",
                DrpcStatus.SUCCESS,
            ) from error

    async def _exchange(self, module: int, method: int, body: bytes) -> bytes:
        self._sequence += 1
        sequence = self._sequence
        call = drpc_pb2.Call(module=module, method=method, sequence=sequence, body=body)
        try:
            # Replies of type Encoded arrive as plain bytes (see `trioraft.rpc.Encoded`).
            answer: Any = await self._call(Encoded(call.SerializeToString()))
        except GRPCError as error:
            raise self._explain(error) from error
        try:
            response = drpc_pb2.Response.FromString(answer)
        except DecodeError as error:
            raise DrpcProtocolError(f"{self._path}: undecodable dRPC response") from error
        status = int(response.status)
        undecoded = (response.sequence, status) == (
            UNDECODED_SEQUENCE,
            DrpcStatus.FAILED_UNMARSHAL_CALL,
        )
        if response.sequence != sequence and not undecoded:
            raise DrpcProtocolError(
                f"{self._path}: response to call {response.sequence}, expected {sequence}"
            )
        if status != DrpcStatus.SUCCESS:
            raise failure_for(status)
        return response.body

    def _explain(self, error: GRPCError) -> DrpcError:
        text = error.message or error.status.name
        if error.status is Status.UNAVAILABLE:
            return DrpcUnavailableError(
                f"{self._path}: no dRPC server answers ({text}). "
                "Check that the node runs and that this is its socket."
            )
        if error.status is Status.RESOURCE_EXHAUSTED:
            return DrpcError(f"{self._path}: message too large: {text}")
        return DrpcProtocolError(f"{self._path}: {error.status.name}: {text}")


@asynccontextmanager
async def open_drpc(
    path: str | os.PathLike[str],
    *,
    concurrent: bool = False,
    max_message: int = DEFAULT_MAX_MESSAGE,
) -> AsyncIterator[DrpcClient]:
    """A client of the dRPC server on a Unix socket; connects at the first call.

    Args:
        concurrent: Let several calls be under way at once. Off, they take turns, as dRPC's
            rule of one outstanding call per connection has it.
        max_message: Bytes of a Call or Response.
    """
    where = os.path.abspath(path)  # noqa: ASYNC240 - asks for the working directory only
    limits = Limits(max_receive_message=max_message, max_send_message=max_message)
    async with open_channel(f"unix:{where}", limits=limits) as channel:
        yield DrpcClient(channel, where, concurrent=concurrent)
