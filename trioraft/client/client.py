"""The client of an application's own state machine: propose and query, on whichever node leads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import ProposeRequest, QueryRequest
from trioraft.protocols.local import ERROR_TRAILER, error_of
from trioraft.raft.errors import ConfigurationError, TrioraftError
from trioraft.raft.types import Session
from trioraft.rpc import GRPCError

from .channels import Dial, open_ring
from .failover import Failover, RetryPolicy

__all__ = ["Client", "open_client"]

_GROUP_ID_BYTES = 16


class Client:
    """Calls on one consensus group. Get one from `open_client`; any number of tasks may share it.

    A client is a session: each proposal carries the client's id and a number of its own, the same
    in every attempt, so that a repeated write can be told from a new one (`Command.session`).
    """

    def __init__(self, failover: Failover, client_id: bytes, group_id: bytes) -> None:
        self._failover = failover
        self._calls = count(1)
        self._group_id = group_id
        self.client_id = client_id

    async def propose(
        self,
        data: bytes,
        *,
        session: Session | None = None,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> bytes:
        """Replicate a write and return the state machine's reply to it.

        Tried until acknowledged: when an answer is lost, the write is sent again, and replicated
        again if the first attempt had succeeded.

        Args:
            session: Identifies the write instead of this client's own id and number.
            timeout: Seconds for all attempts together; the policy's if None.
            repeat: False for at most one attempt; its errors leave open what became of it.

        Cancelling it leaves open whether the write was applied.

        Raises:
            NoQuorumError: no node could answer in time; the write may still be applied.
            EntryTooLargeError, UnknownGroupError: it will never be.
            TrioraftError: any other refusal, with the status and message of the node.
        """
        session = session or Session(self.client_id, next(self._calls))
        request = ProposeRequest(
            group_id=self._group_id,
            data=data,
            client_id=session.client_id,
            call_id=session.call_id,
        )
        return await self._call(lambda stub: stub.Propose, request, timeout, repeat)

    async def query(
        self, data: bytes, *, linearizable: bool = True, timeout: float | None = None
    ) -> bytes:
        """Ask the state machine. With `linearizable=False` one node answers from what it has.

        Raises what `propose` raises. Cancelling it is harmless.
        """
        request = QueryRequest(group_id=self._group_id, data=data, stale=not linearizable)
        return await self._call(lambda stub: stub.Query, request, timeout)

    async def _call(
        self,
        method: Callable[[NodeServiceStub], Any],
        request: ProposeRequest | QueryRequest,
        timeout: float | None,
        repeat: bool = True,
    ) -> bytes:
        async def attempt(channel: Any, left: float) -> bytes:
            return await _exchange(method(NodeServiceStub(channel)), request, left)

        try:
            return await self._failover.call(attempt, timeout=timeout, repeat=repeat)
        except GRPCError as error:
            raise TrioraftError(
                f"the node answered {error.status.name}: {error.message or 'no message'}"
            ) from error


async def _exchange(method: Any, request: ProposeRequest | QueryRequest, timeout: float) -> bytes:
    """One unary call; an error of the node comes out as the class that it names in a trailer."""
    stream = method.open(timeout=timeout)
    try:
        async with stream:
            await stream.send_message(request, end=True)
            reply = await stream.recv_message()
    except GRPCError as error:
        trailers = stream.trailing_metadata or {}
        if ERROR_TRAILER not in trailers:
            raise  # the transport's own failure
        raise error_of(error, trailers) from error
    data: bytes = reply.data
    return data


@asynccontextmanager
async def open_client(
    endpoints: str | Iterable[str],
    *,
    group_id: bytes = b"",
    policy: RetryPolicy | None = None,
    rng: random.Random | None = None,
    dial: Dial | None = None,
) -> AsyncIterator[Client]:
    """A client of the cluster at `endpoints` (`"host:port,host:port"`, or an iterable of them).

    Connects at the first call; finds the leader, follows it, and survives the loss of nodes.

    Args:
        group_id: 16 bytes; empty for the only group of the nodes.
        rng: Makes the client's id and the jitter of its pauses. Seeded by the system if None.
        dial: Opens connections instead of the system's network.

    Raises:
        ConfigurationError: malformed endpoints or group id.
    """
    if len(group_id) not in {0, _GROUP_ID_BYTES}:
        raise ConfigurationError(f"group_id: {len(group_id)} bytes; it must have {_GROUP_ID_BYTES}")
    rng = rng or random.Random()
    async with open_ring(endpoints, rng=rng, dial=dial) as ring:
        failover = Failover(ring, policy or RetryPolicy(), rng, group_id=group_id)
        yield Client(failover, rng.randbytes(16), group_id)
