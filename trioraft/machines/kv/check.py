"""What a request must satisfy before it is proposed: etcd's checks at its gRPC border.

They look at the request alone, so a service makes them once, and a request that
fails never enters the log. Source of the rules: etcd `server/etcdserver/api/v3rpc/key.go`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from trioraft._proto.etcd import rpc_pb2

from .errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPERATIONS,
    VALUE_PROVIDED,
    KvError,
)

__all__ = [
    "MAX_TXN_OPERATIONS",
    "check_delete_request",
    "check_put_request",
    "check_range_request",
    "check_txn_request",
]

MAX_TXN_OPERATIONS = 128
"""Bound on the comparisons, and on the operations of a branch; nested ones share the rest."""

_SORT_ORDERS = frozenset(rpc_pb2.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(rpc_pb2.RangeRequest.SortTarget.values())


def check_range_request(request: rpc_pb2.RangeRequest) -> None:
    """Raise KvError for an empty key or an unknown sort order or target."""
    if not request.key:
        raise KvError(*EMPTY_KEY)
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise KvError(*INVALID_SORT)


def check_put_request(request: rpc_pb2.PutRequest) -> None:
    """Raise KvError for an empty key, or a value or lease that is given and to be ignored."""
    if not request.key:
        raise KvError(*EMPTY_KEY)
    if request.ignore_value and request.value:
        raise KvError(*VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise KvError(*LEASE_PROVIDED)


def check_delete_request(request: rpc_pb2.DeleteRangeRequest) -> None:
    """Raise KvError for an empty key."""
    if not request.key:
        raise KvError(*EMPTY_KEY)


def check_txn_request(request: rpc_pb2.TxnRequest, limit: int = MAX_TXN_OPERATIONS) -> None:
    """Raise KvError for too many or bad operations, or for one key written twice."""
    _check_operations(request, limit)
    _written(request.success)
    _written(request.failure)


def _check_operations(request: rpc_pb2.TxnRequest, limit: int) -> None:
    widest = max(len(request.compare), len(request.success), len(request.failure))
    if widest > limit:
        raise KvError(*TOO_MANY_OPERATIONS)
    if not all(compare.key for compare in request.compare):
        raise KvError(*EMPTY_KEY)
    for operations in (request.success, request.failure):
        for operation in operations:
            _check_operation(operation, limit - widest)


def _check_operation(operation: rpc_pb2.RequestOp, limit: int) -> None:
    match operation.WhichOneof("request"):
        case "request_range":
            check_range_request(operation.request_range)
        case "request_put":
            check_put_request(operation.request_put)
        case "request_delete_range":
            check_delete_request(operation.request_delete_range)
        case "request_txn":
            _check_operations(operation.request_txn, limit)
        case _:
            raise KvError(*KEY_NOT_FOUND)


class _Ranges:
    """A union of key ranges, kept as disjoint ones in order."""

    def __init__(self) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []

    def add(self, start: bytes, end: bytes) -> None:
        """Add [start, end); nothing if it is empty."""
        if end <= start:
            return
        # The ranges from `low` to `high` touch the new one and melt into it.
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def update(self, other: _Ranges) -> None:
        for start, end in zip(other._starts, other._ends, strict=True):
            self.add(start, end)

    def __contains__(self, key: bytes) -> bool:
        place = bisect_right(self._starts, key) - 1
        return place >= 0 and key < self._ends[place]


def _written(operations: Sequence[rpc_pb2.RequestOp]) -> tuple[set[bytes], _Ranges]:
    """The keys put and the ranges deleted by a branch, nested transactions included.

    Raises KvError if a key would be put twice, or put and deleted, on one path. As in etcd, a
    deletion "from key on" (range_end "\\0") counts as empty here, and a nested transaction
    is compared with the nested ones before it, not with those after it.
    """
    deleted = _Ranges()
    for operation in operations:
        if operation.HasField("request_delete_range"):
            request = operation.request_delete_range
            deleted.add(request.key, request.range_end or request.key + b"\0")
    put: set[bytes] = set()
    for operation in operations:
        if operation.HasField("request_txn"):
            then_put, then_deleted = _written(operation.request_txn.success)
            else_put, else_deleted = _written(operation.request_txn.failure)
            _reject(then_put & put)
            _reject((else_put & put) - then_put)
            nested_put = then_put | else_put
            _reject(any(key in deleted for key in nested_put))
            put |= nested_put
            deleted.update(then_deleted)
            deleted.update(else_deleted)
    for operation in operations:
        if operation.HasField("request_put"):
            key = operation.request_put.key
            _reject(key in put or key in deleted)
            put.add(key)
    return put, deleted


def _reject(duplicate: object) -> None:
    if duplicate:
        raise KvError(*DUPLICATE_KEY)
