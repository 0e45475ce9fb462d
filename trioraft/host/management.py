"""The management module: what a node answers on its dRPC socket.

Whoever may open the socket file may ask; that is how access is controlled.
"""

from __future__ import annotations

import os
from typing import Any, Final, Protocol

import trio

from trioraft._proto.local.node_pb2 import StatusReply, StatusRequest
from trioraft.drpc import Caller, Module, open_drpc, serve_drpc, typed

__all__ = ["MODULE_ID", "STATUS", "ask_status", "management_module", "serve_management"]

#: Ids of our own, far from those that DAOS has given away (modules 0 to 4).
MODULE_ID: Final = 20
STATUS: Final = 2001  # StatusRequest -> StatusReply of schema/local/node.proto


class Managed(Protocol):
    """What the module needs of a node."""

    def status_reply(self) -> StatusReply: ...


def management_module(node: Managed) -> Module:
    """The module to hand to `serve_drpc`."""

    async def status(request: StatusRequest, caller: Caller) -> StatusReply:
        return node.status_reply()

    return Module(MODULE_ID, "management", {STATUS: typed(StatusRequest, status)})


async def serve_management(
    node: Managed,
    path: str | os.PathLike[str],
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the management module on a Unix socket until cancelled.

    Raises SocketFileError when the socket file cannot be created.
    """
    await serve_drpc([management_module(node)], path=path, task_status=task_status)


async def ask_status(path: str | os.PathLike[str]) -> StatusReply:
    """The status of the node behind a socket. Raises DrpcError."""
    async with open_drpc(path) as client:
        return await client.call_message(MODULE_ID, STATUS, StatusRequest(), StatusReply)
