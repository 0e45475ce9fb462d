"""dRPC as gRPC over a Unix socket: the listening side.

The same Calls and Responses as on DAOS's SEQPACKET sockets, carried as the unary method
`/drpc.DRPC/Call`. Every dRPC outcome is a Response with gRPC status OK, so both renditions give
identical Responses; gRPC statuses tell of the transport only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import trio
from grpclib.const import Cardinality, Handler

from trioraft.rpc import Encoded, GRPCError, Limits, ServerStream, Status, serve

from .credentials import IdentifyingListener
from .dispatcher import Dispatcher
from .module import Caller, Module
from .socket_file import DEFAULT_MODE, bound_socket

__all__ = ["CALL_PATH", "DEFAULT_MAX_MESSAGE", "DEFAULT_MAX_SESSIONS", "DrpcService", "serve_drpc"]

CALL_PATH = "/drpc.DRPC/Call"

#: Bytes of one serialized Call or Response, both ways.
DEFAULT_MAX_MESSAGE = 64 << 20

#: Connections at once; one more is closed at once.
DEFAULT_MAX_SESSIONS = 256


class DrpcService:
    """The gRPC service object in front of a dispatcher, for `trioraft.rpc.serve`.

    Calls arrive undecoded, so that an undecodable one is answered as dRPC does
    (sequence -1, FAILED_UNMARSHAL_CALL) and not with a gRPC status.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def _call(self, stream: ServerStream[Encoded, bytes]) -> None:
        request = await stream.recv_message()
        if request is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "a unary call without a request")
        caller = stream.peer.addr()
        response = await self._dispatcher.dispatch(
            request, caller if isinstance(caller, Caller) else None
        )
        await stream.send_message(Encoded(response))

    def __mapping__(self) -> dict[str, Handler]:
        return {CALL_PATH: Handler(self._call, Cardinality.UNARY_UNARY, Encoded, Encoded)}


async def serve_drpc(
    modules: Iterable[Module],
    *,
    path: str | os.PathLike[str],
    mode: int = DEFAULT_MODE,
    max_message: int = DEFAULT_MAX_MESSAGE,
    max_sessions: int = DEFAULT_MAX_SESSIONS,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve dRPC modules on a Unix socket until cancelled; then the socket file is gone.

    Started with `nursery.start` it returns the bound addresses, as `serve` does.
    Handlers are cancelled when their caller goes away or gives up, and when this is cancelled.

    Args:
        mode: Permissions of the socket file, in force from the moment it exists.
        max_message: Bytes of a Call or Response. A larger one ends its call with the gRPC
            status RESOURCE_EXHAUSTED.
        max_sessions: Connections at once.

    Raises:
        SocketFileError: the file cannot be created (see `bound_socket`).
        ValueError: two modules have the same id.
    """
    service = DrpcService(Dispatcher(modules))
    limits = Limits(
        max_receive_message=max_message,
        max_send_message=max_message,
        max_connections=max_sessions,
    )
    with bound_socket(path, mode=mode) as sock:
        listener = IdentifyingListener(trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
        await serve([service], listeners=[listener], limits=limits, task_status=task_status)
