"""etcdserverpb.KV: Range, Put, DeleteRange, Txn, Compact.

A request is decoded once, to check it; the bytes that came are the bytes that enter the log.
"""

from __future__ import annotations

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import Tag
from trioraft.machines.kv.check import (
    check_delete_request,
    check_put_request,
    check_range_request,
    check_txn_request,
)
from trioraft.machines.kv.txn import is_read_only, is_serializable
from trioraft.rpc import Handler

from .backend import Answer
from .unary import Caller

__all__ = ["KvService"]


class KvService:
    """Keys and values. Writes go through the log, reads through a read index or, serializable,
    to this node's own state."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __mapping__(self) -> dict[str, Handler]:
        handler = self._caller.handler
        return {
            "/etcdserverpb.KV/Range": handler(self._range, self._begin_range),
            "/etcdserverpb.KV/Put": handler(self._put, self._begin_put),
            "/etcdserverpb.KV/DeleteRange": handler(self._delete_range),
            "/etcdserverpb.KV/Txn": handler(self._txn),
            "/etcdserverpb.KV/Compact": handler(self._compact),
        }

    async def _range(self, data: bytes) -> bytes:
        request = rpc_pb2.RangeRequest.FromString(data)
        check_range_request(request)
        return await self._caller.query(Tag.RANGE, data, linearizable=not request.serializable)

    def _begin_range(self, answer: Answer, data: bytes) -> bool:
        request = rpc_pb2.RangeRequest.FromString(data)
        check_range_request(request)
        if request.serializable:
            return False
        return self._caller.backend.query_for(answer, Tag.RANGE.encode(data))

    async def _put(self, data: bytes) -> bytes:
        check_put_request(rpc_pb2.PutRequest.FromString(data))
        return await self._caller.propose(Tag.PUT, data)

    def _begin_put(self, answer: Answer, data: bytes) -> bool:
        check_put_request(rpc_pb2.PutRequest.FromString(data))
        return self._caller.propose_for(answer, Tag.PUT, data)

    async def _delete_range(self, data: bytes) -> bytes:
        check_delete_request(rpc_pb2.DeleteRangeRequest.FromString(data))
        return await self._caller.propose(Tag.DELETE_RANGE, data)

    async def _txn(self, data: bytes) -> bytes:
        request = rpc_pb2.TxnRequest.FromString(data)
        check_txn_request(request)
        if is_read_only(request):
            return await self._caller.query(
                Tag.READ_TXN, data, linearizable=not is_serializable(request)
            )
        return await self._caller.propose(Tag.TXN, data)

    async def _compact(self, data: bytes) -> bytes:
        """`physical` needs no wait: the machine forgets before it answers."""
        rpc_pb2.CompactionRequest.FromString(data)
        return await self._caller.propose(Tag.COMPACT, data)
