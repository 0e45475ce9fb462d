"""What nodes say about themselves, asked over their NodeService."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import StatusReply, StatusRequest
from trioraft.rpc import GRPCError, open_channel

from .endpoints import Endpoint

__all__ = ["ask_all", "ask_status", "fetch_status", "leader_among"]

LEADER = "leader"


async def ask_status(channel: Any, *, timeout: float) -> StatusReply:
    """The status of the node at the other end of `channel`. Raises GRPCError."""
    reply: StatusReply = await NodeServiceStub(channel).Status(StatusRequest(), timeout=timeout)
    return reply


async def fetch_status(target: str, *, timeout: float = 2.0) -> StatusReply:
    """The status of the node at `target`, over a connection of its own. Raises GRPCError."""
    async with open_channel(target) as channel:
        return await ask_status(channel, timeout=timeout)


async def ask_all(targets: Sequence[str], *, timeout: float = 2.0) -> list[StatusReply | GRPCError]:
    """Ask all targets at once; answers, or why there is none, in their order."""
    answers: dict[int, StatusReply | GRPCError] = {}

    async def ask(position: int, target: str) -> None:
        try:
            answers[position] = await fetch_status(target, timeout=timeout)
        except GRPCError as error:
            answers[position] = error

    async with trio.open_nursery() as nursery:
        for position, target in enumerate(targets):
            nursery.start_soon(ask, position, target)
    return [answers[position] for position in range(len(targets))]


async def leader_among(
    endpoints: Sequence[Endpoint], group_id: bytes, *, timeout: float
) -> Endpoint | None:
    """The endpoint whose node leads the group (b"": its only one), by the newest term's claim.

    None if no node says so in time: there may be no leader, or none of the endpoints is it.
    """
    claims: list[tuple[int, int]] = []

    async def ask(position: int) -> None:
        try:
            status = await ask_status(endpoints[position].channel, timeout=timeout)
        except GRPCError:
            return  # the caller's own call is about to find out and to say why
        groups = [group for group in status.groups if group_id in (b"", group.group_id)]
        if len(groups) == 1 and groups[0].role == LEADER and groups[0].term.isdecimal():
            claims.append((int(groups[0].term), position))

    async with trio.open_nursery() as nursery:
        for position in range(len(endpoints)):
            nursery.start_soon(ask, position)
    return endpoints[max(claims)[1]] if claims else None
