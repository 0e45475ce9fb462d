"""One call to another node, and whether it can have had an effect if it failed."""

from __future__ import annotations

from typing import Any

from trioraft.node.peers import PeerUnreachableError
from trioraft.rpc import GRPCError

from .errors import error_of

__all__ = ["AnswerLostError", "call"]


class AnswerLostError(PeerUnreachableError):
    """The connection was lost behind the request: what it asked for may or may not happen."""


async def call(method: Any, request: Any, timeout: float | None) -> Any:
    """The reply of a stub's unary method.

    Raises what the other node has raised (`error_of`). PeerUnreachableError: it was not asked,
    nothing has happened; AnswerLostError: nobody knows. The GRPCError is the cause.
    """
    stream = method.open(timeout=timeout)
    asked = False
    try:
        async with stream:
            await stream.send_request()
            asked = True
            await stream.send_message(request, end=True)
            return await stream.recv_message()
    except GRPCError as error:
        failure = error_of(error, stream.trailing_metadata)
        if asked and type(failure) is PeerUnreachableError:
            failure = AnswerLostError(str(failure))
        raise failure from error
