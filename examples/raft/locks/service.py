"""The API in front of the state: a gRPC service that every node serves."""

from __future__ import annotations

import time
from collections.abc import Callable

from locks_pb2 import Acquire, Holder, Look, Order, Release, Released
from locks_trio import LocksBase
from trioraft import Node, grpc_errors
from trioraft.rpc import GRPCError, Status

MAX_NAME = 200
MAX_SECONDS = 3600


class Locks(LocksBase):
    """Any node will do: those that do not lead forward to the one that does."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.time) -> None:
        """clock: seconds; a simulation hands in its own."""
        self._node = node
        self._clock = clock

    async def TryLock(self, request: Acquire) -> Holder:
        check_name("lock", request.lock)
        check_name("owner", request.owner)
        if not 1 <= request.seconds <= MAX_SECONDS:
            raise GRPCError(Status.INVALID_ARGUMENT, f"seconds: from 1 to {MAX_SECONDS}")
        holder = Holder.FromString(await self._write(Order(acquire=request)))
        if not holder.owner:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "there are too many locks")
        return holder

    async def Unlock(self, request: Release) -> Released:
        check_name("lock", request.lock)
        return Released.FromString(await self._write(Order(release=request)))

    async def WhoHas(self, request: Look) -> Holder:
        check_name("lock", request.lock)
        order = Order(look=request, now_ms=self._now_ms())
        with grpc_errors():
            return Holder.FromString(await self._node.query(order.SerializeToString()))

    async def _write(self, order: Order) -> bytes:
        order.now_ms = self._now_ms()
        # "No quorum" is UNAVAILABLE, "may have happened" ABORTED, and so on.
        with grpc_errors():
            return await self._node.propose(order.SerializeToString())

    def _now_ms(self) -> int:
        return int(1000 * self._clock())


def check_name(field: str, name: str) -> None:
    if not 0 < len(name) <= MAX_NAME:
        raise GRPCError(Status.INVALID_ARGUMENT, f"{field}: from 1 to {MAX_NAME} characters")
