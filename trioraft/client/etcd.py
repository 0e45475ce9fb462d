"""A small client of the etcd v3 KV API that survives the loss of endpoints.

Works against `trioraft node` and, but for following the leader, against etcd itself. Requests
and replies are the messages of `trioraft._proto.etcd.rpc_pb2`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from trioraft._proto.etcd.kv_pb2 import KeyValue
from trioraft._proto.etcd.rpc_grpc import KVStub
from trioraft._proto.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from trioraft.rpc import GRPCError, Status

from .channels import open_ring
from .failover import Failover, RetryPolicy

__all__ = ["EtcdClient", "open_etcd", "prefix_range"]

_T = TypeVar("_T")

#: Keys in one reply of `pages`, unless told otherwise.
PAGE = 1000


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """`key` and `range_end` of the range of all keys with `prefix`, in etcd's way."""
    if not prefix:
        return b"\0", b"\0"  # every key there is: an empty key is not allowed
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return prefix, b"\0"  # all keys from `prefix` on
    return prefix, stripped[:-1] + bytes([stripped[-1] + 1])


class EtcdClient:
    """KV calls on a cluster. Get one from `open_etcd`; any number of tasks may share it.

    Every method raises NoQuorumError when no endpoint could answer in time, and GRPCError with
    etcd's status and message when the request itself was refused. Cancelling a write leaves
    open whether it was carried out.
    """

    def __init__(self, failover: Failover) -> None:
        self._failover = failover

    async def put(
        self, key: bytes, value: bytes, *, prev_kv: bool = False, timeout: float | None = None
    ) -> PutResponse:
        """Write one key. Tried until acknowledged: after a lost answer it may be written twice,
        which another writer of the same key could notice; use `txn` where that matters.
        """
        request = PutRequest(key=key, value=value, prev_kv=prev_kv)
        return await self._repeat(lambda kv, left: kv.Put(request, timeout=left), timeout)

    async def get(
        self,
        key: bytes,
        *,
        range_end: bytes = b"",
        limit: int = 0,
        revision: int = 0,
        serializable: bool = False,
        count_only: bool = False,
        keys_only: bool = False,
        timeout: float | None = None,
    ) -> RangeResponse:
        """Read a key, or the keys in [key, range_end). `serializable` reads one node as it is."""
        request = RangeRequest(
            key=key,
            range_end=range_end,
            limit=limit,
            revision=revision,
            serializable=serializable,
            count_only=count_only,
            keys_only=keys_only,
        )
        return await self._repeat(lambda kv, left: kv.Range(request, timeout=left), timeout)

    async def pages(
        self,
        key: bytes,
        *,
        range_end: bytes,
        page: int = PAGE,
        revision: int = 0,
        serializable: bool = False,
    ) -> AsyncGenerator[list[KeyValue], None]:
        """The keys in [key, range_end) in order, in pages of one consistent revision.

        A page has at most `page` keys, and fewer where their values are too large for one
        reply. Works while that revision is not compacted. Wrap it in `aclosing` to stop early.
        """
        while True:
            try:
                reply = await self.get(
                    key,
                    range_end=range_end,
                    limit=page,
                    revision=revision,
                    serializable=serializable,
                )
            except GRPCError as error:
                if error.status is not Status.RESOURCE_EXHAUSTED or page == 1:
                    raise
                page = max(1, page // 4)
                continue
            if reply.kvs:
                yield list(reply.kvs)
            if not reply.more:
                return
            revision = revision or reply.header.revision
            key = reply.kvs[-1].key + b"\0"

    async def delete(
        self, key: bytes, *, range_end: bytes = b"", timeout: float | None = None
    ) -> DeleteRangeResponse:
        """Delete a key or a range. Tried until acknowledged: after a lost answer `deleted` counts
        what the last attempt still found.
        """
        request = DeleteRangeRequest(key=key, range_end=range_end)
        return await self._repeat(lambda kv, left: kv.DeleteRange(request, timeout=left), timeout)

    async def txn(self, request: TxnRequest, *, timeout: float | None = None) -> TxnResponse:
        """Run a transaction once. GRPCError UNAVAILABLE or DEADLINE_EXCEEDED leaves its outcome
        open: read back before trying again.
        """
        return await self._failover.call(
            lambda channel, left: KVStub(channel).Txn(request, timeout=left),
            timeout=timeout,
            repeat=False,
        )

    async def _repeat(
        self, attempt: Callable[[Any, float], Awaitable[_T]], timeout: float | None
    ) -> _T:
        return await self._failover.call(
            lambda channel, left: attempt(KVStub(channel), left), timeout=timeout
        )


@asynccontextmanager
async def open_etcd(
    endpoints: str | Iterable[str],
    *,
    policy: RetryPolicy | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[EtcdClient]:
    """A client of the cluster at `endpoints` (`"host:port,host:port"`, or an iterable of them).

    Connects at the first call. Raises ConfigurationError for a malformed list.
    """
    rng = rng or random.Random()
    async with open_ring(endpoints, rng=rng) as ring:
        yield EtcdClient(Failover(ring, policy or RetryPolicy(), rng))
