"""Unary calls on whichever node of a group answers, and what their failures come out as."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft.protocols.local import ERROR_TRAILER, error_of
from trioraft.raft.errors import TrioraftError
from trioraft.rpc import GRPCError

from .failover import Failover

__all__ = ["GroupCalls", "exchange"]


class GroupCalls:
    """The calls of one client: on the nodes of `failover`, of the group `group_id`."""

    def __init__(self, failover: Failover, group_id: bytes) -> None:
        self.group_id = group_id
        self._failover = failover

    def seconds(self, timeout: float | None) -> float:
        """`timeout`, or the policy's if None."""
        return self._failover.policy.timeout if timeout is None else timeout

    async def call(
        self, method: Callable[[NodeServiceStub], Any], request: Any, timeout: float | None
    ) -> Any:
        """One call of the node service, tried until it is answered. Raises as `run`."""

        async def attempt(channel: Any, left: float) -> Any:
            return await exchange(method(NodeServiceStub(channel)), request, left)

        return await self.run(attempt, timeout)

    async def run(
        self,
        attempt: Callable[[Any, float], Awaitable[Any]],
        timeout: float | None,
        repeat: bool = True,
    ) -> Any:
        """`Failover.call`, whose GRPCError comes out as TrioraftError."""
        try:
            return await self._failover.call(attempt, timeout=timeout, repeat=repeat)
        except GRPCError as error:
            raise TrioraftError(
                f"the node answered {error.status.name}: {error.message or 'no message'}"
            ) from error


async def exchange(method: Any, request: Any, timeout: float) -> Any:
    """One unary call; an error of the node comes out as the class that it names in a trailer."""
    stream = method.open(timeout=timeout)
    try:
        async with stream:
            await stream.send_message(request, end=True)
            return await stream.recv_message()
    except GRPCError as error:
        trailers = stream.trailing_metadata or {}
        if ERROR_TRAILER not in trailers:
            raise  # the transport's own failure
        raise error_of(error, trailers) from error
