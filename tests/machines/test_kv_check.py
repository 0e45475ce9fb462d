"""The checks of requests before they are proposed."""

from __future__ import annotations

import pytest

from trioraft._proto.etcd import rpc_pb2
from trioraft.machines.kv import KvError
from trioraft.machines.kv.check import (
    MAX_TXN_OPERATIONS,
    check_put_request,
    check_range_request,
    check_txn_request,
)


def put(key: bytes) -> rpc_pb2.RequestOp:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key))


def delete(key: bytes, end: bytes = b"") -> rpc_pb2.RequestOp:
    request = rpc_pb2.DeleteRangeRequest(key=key, range_end=end)
    return rpc_pb2.RequestOp(request_delete_range=request)


def nested(
    then: list[rpc_pb2.RequestOp], otherwise: list[rpc_pb2.RequestOp] | None = None
) -> rpc_pb2.RequestOp:
    request = rpc_pb2.TxnRequest(success=then, failure=otherwise or [])
    return rpc_pb2.RequestOp(request_txn=request)


@pytest.mark.parametrize(
    "operations",
    [
        [put(b"a"), put(b"a")],
        [delete(b"a"), put(b"a")],
        [put(b"a"), delete(b"a")],
        [put(b"b"), delete(b"a", b"c")],
        [delete(b"a", b"c"), delete(b"c", b"e"), delete(b"b", b"d"), put(b"d")],
        [delete(b"a", b"b"), delete(b"d", b"e"), delete(b"a", b"z"), put(b"c")],
        [put(b"a"), nested([put(b"a")])],
        [nested([put(b"a")]), nested([put(b"a")])],
        [nested([put(b"a")]), nested([], [put(b"a")])],
        [nested([delete(b"a")]), put(b"a")],
        [nested([delete(b"a")]), nested([put(b"a")])],
        [nested([nested([put(b"a")])]), delete(b"a")],
    ],
)
def test_one_key_written_twice_on_a_path(operations: list[rpc_pb2.RequestOp]) -> None:
    for request in (
        rpc_pb2.TxnRequest(success=operations),
        rpc_pb2.TxnRequest(failure=operations),
    ):
        with pytest.raises(KvError, match="duplicate key given in txn request"):
            check_txn_request(request)


@pytest.mark.parametrize(
    "operations",
    [
        [put(b"a"), put(b"b"), delete(b"c"), delete(b"c", b"f"), delete(b"c")],
        [delete(b"a", b"c"), put(b"c")],
        [delete(b"b", b"c"), put(b"a"), delete(b"a\0", b"b")],
        [nested([put(b"a")], [put(b"a")])],
        [nested([put(b"a")]), nested([delete(b"a")])],
        [nested([put(b"a")]), nested([delete(b"a")]), nested([put(b"z")])],
        [delete(b"a", b"\0"), put(b"b")],
        [delete(b"c", b"a"), put(b"b")],
    ],
)
def test_writes_that_etcd_lets_pass(operations: list[rpc_pb2.RequestOp]) -> None:
    check_txn_request(rpc_pb2.TxnRequest(success=operations))


def test_the_bound_on_operations() -> None:
    def puts(count: int) -> list[rpc_pb2.RequestOp]:
        return [put(b"%d" % i) for i in range(count)]

    check_txn_request(rpc_pb2.TxnRequest(success=puts(MAX_TXN_OPERATIONS)))
    check_txn_request(rpc_pb2.TxnRequest(success=[nested(puts(MAX_TXN_OPERATIONS - 1))]))
    compare = rpc_pb2.Compare(key=b"a")
    for request in (
        rpc_pb2.TxnRequest(success=puts(MAX_TXN_OPERATIONS + 1)),
        rpc_pb2.TxnRequest(failure=puts(MAX_TXN_OPERATIONS + 1)),
        rpc_pb2.TxnRequest(compare=[compare] * (MAX_TXN_OPERATIONS + 1)),
        rpc_pb2.TxnRequest(success=[nested(puts(MAX_TXN_OPERATIONS))]),
    ):
        with pytest.raises(KvError, match="too many operations in txn request"):
            check_txn_request(request)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp()]), "key not found"),
        (rpc_pb2.TxnRequest(compare=[rpc_pb2.Compare()]), "key is not provided"),
        (rpc_pb2.TxnRequest(success=[put(b"")]), "key is not provided"),
        (rpc_pb2.TxnRequest(failure=[delete(b"")]), "key is not provided"),
    ],
)
def test_bad_operations(request_: rpc_pb2.TxnRequest, message: str) -> None:
    with pytest.raises(KvError, match=f"etcdserver: {message}"):
        check_txn_request(request_)


def test_unknown_sort_options() -> None:
    for request in (
        rpc_pb2.RangeRequest(key=b"a", sort_order=3),
        rpc_pb2.RangeRequest(key=b"a", sort_target=5),
    ):
        with pytest.raises(KvError, match="invalid sort option"):
            check_range_request(request)


def test_what_is_given_and_ignored() -> None:
    with pytest.raises(KvError, match="value is provided"):
        check_put_request(rpc_pb2.PutRequest(key=b"a", value=b"b", ignore_value=True))
    with pytest.raises(KvError, match="lease is provided"):
        check_put_request(rpc_pb2.PutRequest(key=b"a", lease=1, ignore_lease=True))
