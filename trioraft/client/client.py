"""The client of an application's own state machine: propose and query, on whichever node leads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio

from trioraft._proto.local.node_grpc import NodeServiceStub
from trioraft._proto.local.node_pb2 import ProposeRequest, QueryRequest, WatchRequest
from trioraft.protocols.local import WriteResult
from trioraft.raft.errors import ConfigurationError, NotReplicatedError, SessionExpiredError
from trioraft.raft.session_ids import MAX_OUTSTANDING
from trioraft.raft.types import NO_INDEX, ReplicationLevel, Session
from trioraft.rpc import GRPCError, Status
from trioraft.rpc.running import need_trio

from .calls import GroupCalls, exchange
from .channels import Dial, open_ring
from .failover import Failover, RetryPolicy
from .session import DEFAULT_WINDOW, OwnSession

__all__ = ["Client", "open_client"]

#: Sessions in a row that a group may refuse to open for one call, e.g. while a node is behind.
_SESSIONS_TRIED = 4

_GROUP_ID_BYTES = 16


class Client:
    """Calls on one consensus group. Get one from `open_client`; any number of tasks may share it.

    A client is a session of the group: every write has a number, the same in all its attempts,
    and is applied at most once however often it is sent, whichever node leads by then. Calls that
    are under way at the same time may be applied in any order; one that begins after another has
    ended is applied after it.
    """

    def __init__(
        self, failover: Failover, rng: random.Random, group_id: bytes, window: int
    ) -> None:
        self._calls = GroupCalls(failover, group_id)
        self._session = OwnSession(self._calls, rng, window)
        self.last_index = NO_INDEX

    @property
    def client_id(self) -> bytes | None:
        """The session's id, 16 bytes; None before the first write."""
        return self._session.client_id

    async def propose(
        self,
        data: bytes,
        *,
        session: Session | None = None,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> bytes:
        """As `write`; returns the state machine's reply alone."""
        return (await self.write(data, session=session, timeout=timeout, repeat=repeat)).reply

    async def write(
        self,
        data: bytes,
        *,
        session: Session | None = None,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> WriteResult:
        """Replicate a write; returns the state machine's reply, and its index in the log.

        Tried until acknowledged. When an answer is lost the write is sent again, and the group
        answers with the reply of the first time.

        Args:
            session: Identifies the write instead of this client's own session and number.
            timeout: Seconds for all attempts together; the policy's if None.
            repeat: False for at most one attempt; its errors leave open what became of it.

        Cancelling it leaves open whether the write was applied. It will not be any more once
        another one, begun later, is.

        Raises:
            NoQuorumError: no node could answer in time; the write may still be applied.
            SessionExpiredError: an answer was lost, and by the time of the next attempt the
                group had forgotten this session; the write may have been applied. The client
                goes on with a new session.
            EntryTooLargeError, UnknownGroupError: it will never be.
            TrioraftError: any other refusal, with the status and message of the node.
        """
        if session is not None:
            return await self._write(data, session, timeout, repeat, [])
        for left in reversed(range(_SESSIONS_TRIED)):
            numbers = await self._session.open(timeout)
            number = await self._session.begin(numbers, timeout)
            tries: list[float] = []
            try:
                return await self._write(data, numbers.session(number), timeout, repeat, tries)
            except SessionExpiredError:
                self._session.forget(numbers)
                # Refused at the first attempt: it has never been applied, so it may have
                # another number in another session.
                if len(tries) > 1 or not left:
                    raise
            finally:
                numbers.end(number)
        raise AssertionError("the last session raises or returns")

    async def query(
        self,
        data: bytes,
        *,
        linearizable: bool = True,
        min_index: int | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """Ask the state machine.

        With `linearizable=False` one node answers from what it has, as soon as it has applied
        `min_index`: by default this client's last acknowledged write, so that a client sees its
        own writes. -1 takes the node's state as it is.

        Raises what `propose` raises. Cancelling it is harmless.
        """
        request = QueryRequest(group_id=self._calls.group_id, data=data, stale=not linearizable)
        if not linearizable:
            request.min_entries = (self.last_index if min_index is None else min_index) + 1
        reply = await self._calls.call(lambda stub: stub.Query, request, timeout)
        answer: bytes = reply.data
        return answer

    async def watch(
        self,
        index: int,
        level: ReplicationLevel = ReplicationLevel.ALL_COMMITTED,
        *,
        timeout: float | None = None,
    ) -> int:
        """Wait until the entry at `index` (`WriteResult.index`) is replicated as `level` says.

        Returns how far that level is, `index` or more. Raises NotReplicatedError if it has not
        come so far within `timeout` (seconds; the policy's if None), and what `propose` raises.
        Cancelling it is harmless.
        """
        request = WatchRequest(group_id=self._calls.group_id, index=index, level=level.name)
        seconds = self._calls.seconds(timeout)
        deadline = trio.current_time() + seconds

        async def attempt(channel: Any, left: float) -> Any:
            try:
                return await exchange(NodeServiceStub(channel).Watch, request, left)
            except GRPCError as error:
                if error.status is Status.DEADLINE_EXCEEDED:
                    return None  # the node is there, and the index is not: ask again
                raise

        while (left := deadline - trio.current_time()) > 0:
            reply = await self._calls.run(attempt, left)
            if reply is not None:
                reached: int = reply.index
                return reached
        raise NotReplicatedError(
            f"entry {index} has not reached {level.name} within {seconds:g} s; it still may"
        )

    async def _write(
        self,
        data: bytes,
        session: Session,
        timeout: float | None,
        repeat: bool,
        tries: list[float],
    ) -> WriteResult:
        """All attempts of one call; `tries` gets the time of each."""
        request = ProposeRequest(
            group_id=self._calls.group_id,
            data=data,
            client_id=session.client_id,
            call_id=session.call_id,
        )

        async def attempt(channel: Any, left: float) -> Any:
            tries.append(trio.current_time())
            return await exchange(NodeServiceStub(channel).Propose, request, left)

        reply = await self._calls.run(attempt, timeout, repeat)
        self.last_index = max(self.last_index, reply.index)
        return WriteResult(reply.data, reply.index)


@asynccontextmanager
async def open_client(
    endpoints: str | Iterable[str],
    *,
    group_id: bytes = b"",
    policy: RetryPolicy | None = None,
    window: int = DEFAULT_WINDOW,
    rng: random.Random | None = None,
    dial: Dial | None = None,
) -> AsyncIterator[Client]:
    """A client of the cluster at `endpoints` (`"host:port,host:port"`, or an iterable of them).

    Connects at the first call; finds the leader, follows it, and survives the loss of nodes.

    Args:
        group_id: 16 bytes; empty for the only group of the nodes.
        window: Writes that may be under way at once, at most 1,024; more of them wait.
        rng: Makes the client's id and the jitter of its pauses. Seeded by the system if None.
        dial: Opens connections instead of the system's network.

    Raises:
        ConfigurationError: malformed endpoints or group id, or a window out of bounds.
    """
    need_trio("open_client")
    if len(group_id) not in {0, _GROUP_ID_BYTES}:
        raise ConfigurationError(f"group_id: {len(group_id)} bytes; it must have {_GROUP_ID_BYTES}")
    if not 0 < window <= MAX_OUTSTANDING:
        raise ConfigurationError(f"window={window}: must be from 1 to {MAX_OUTSTANDING}")
    rng = rng or random.Random()
    async with open_ring(endpoints, rng=rng, dial=dial) as ring:
        failover = Failover(ring, policy or RetryPolicy(), rng, group_id=group_id)
        yield Client(failover, rng, group_id, window)
