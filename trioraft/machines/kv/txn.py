"""Txn: comparisons choose a branch, the branch is checked as a whole, then carried out.

As in etcd, every comparison, also those of nested transactions, looks at the state
before the outermost transaction wrote anything, and nothing is written unless all of the chosen
operations can be (puts are checked before ranges). A refused transaction changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trioraft._proto.etcd import rpc_pb2

from .errors import COMPACTED, FUTURE_REVISION, KvError
from .index import Version
from .read import run_range, selection_message
from .steps import KEYS_PER_STEP, Steps
from .store import Store, range_end
from .write import check_put, put_response, run_delete, run_put

__all__ = ["is_read_only", "is_serializable", "run_txn"]

_Compare = rpc_pb2.Compare
_ABSENT = Version(0, 0, 0, 0, b"", 0)


@dataclass(slots=True)
class _Branch:
    """The operations that a transaction's comparisons chose; nested ones are resolved."""

    succeeded: bool
    steps: list[rpc_pb2.RequestOp | _Branch]


def run_txn(store: Store, request: rpc_pb2.TxnRequest) -> Steps[rpc_pb2.TxnResponse]:
    """Carry out a transaction; the caller commits. Raises KvError before any change."""
    branch = yield from _choose(store, request)
    for operation in _operations(branch):
        if operation.WhichOneof("request") == "request_put":
            check_put(store, operation.request_put)
    for operation in _operations(branch):
        if operation.WhichOneof("request") == "request_range":
            _check_range(store, operation.request_range)
    return (yield from _run(store, branch))


def is_read_only(request: rpc_pb2.TxnRequest) -> bool:
    """Whether a Txn can be answered as a read: all its operations are ranges, none is nested."""
    return all(operation.HasField("request_range") for operation in _both(request))


def is_serializable(request: rpc_pb2.TxnRequest) -> bool:
    """Whether every operation is a serializable range, so that a local answer will do."""
    return all(
        operation.HasField("request_range") and operation.request_range.serializable
        for operation in _both(request)
    )


def _both(request: rpc_pb2.TxnRequest) -> Iterator[rpc_pb2.RequestOp]:
    yield from request.success
    yield from request.failure


def _choose(store: Store, request: rpc_pb2.TxnRequest) -> Steps[_Branch]:
    branch = _Branch(succeeded=True, steps=[])
    for compare in request.compare:
        if not (yield from _holds(store, compare)):
            branch.succeeded = False
            break
    for operation in request.success if branch.succeeded else request.failure:
        if operation.WhichOneof("request") == "request_txn":
            branch.steps.append((yield from _choose(store, operation.request_txn)))
        else:
            branch.steps.append(operation)
    return branch


def _operations(branch: _Branch) -> Iterator[rpc_pb2.RequestOp]:
    for step in branch.steps:
        if isinstance(step, _Branch):
            yield from _operations(step)
        else:
            yield step


def _check_range(store: Store, request: rpc_pb2.RangeRequest) -> None:
    """Unlike a plain Range, one inside a Txn takes a negative revision as a number."""
    if request.revision > store.revision:
        raise KvError(*FUTURE_REVISION)
    if request.revision and request.revision < store.compact_revision:
        raise KvError(*COMPACTED)


def _holds(store: Store, compare: rpc_pb2.Compare) -> Steps[bool]:
    """Whether a comparison holds for every key of its range, or for the absent key."""
    seen = 0
    for _, version in store.index.walk(compare.key, range_end(compare.range_end)):
        if not _version_holds(compare, version):
            return False
        seen += 1
        if seen % KEYS_PER_STEP == 0:
            yield
    if seen:
        return True
    # A missing value is not an empty value: comparing it always fails.
    return compare.target != _Compare.VALUE and _version_holds(compare, _ABSENT)


def _version_holds(compare: rpc_pb2.Compare, version: Version) -> bool:
    ours: Any
    theirs: Any
    match compare.target:
        case _Compare.VALUE:
            ours, theirs = version.value, compare.value
        case _Compare.VERSION:
            ours, theirs = version.number, compare.version
        case _Compare.CREATE:
            ours, theirs = version.create, compare.create_revision
        case _Compare.MOD:
            ours, theirs = version.mod, compare.mod_revision
        case _Compare.LEASE:
            ours, theirs = version.lease, compare.lease
        case _:
            ours, theirs = 0, 0  # an unknown target compares as equal, as in etcd
    match compare.result:
        case _Compare.EQUAL:
            return bool(ours == theirs)
        case _Compare.NOT_EQUAL:
            return bool(ours != theirs)
        case _Compare.GREATER:
            return bool(ours > theirs)
        case _Compare.LESS:
            return bool(ours < theirs)
        case _:
            return True


def _run(store: Store, branch: _Branch) -> Steps[rpc_pb2.TxnResponse]:
    response = rpc_pb2.TxnResponse(succeeded=branch.succeeded)
    for step in branch.steps:
        if isinstance(step, _Branch):
            nested = yield from _run(store, step)
            nested.header.SetInParent()  # etcd gives it an empty header
            response.responses.append(rpc_pb2.ResponseOp(response_txn=nested))
        else:
            response.responses.append((yield from _run_operation(store, step)))
    return response


def _run_operation(store: Store, operation: rpc_pb2.RequestOp) -> Steps[rpc_pb2.ResponseOp]:
    match operation.WhichOneof("request"):
        case "request_range":
            selection = yield from run_range(store, operation.request_range)
            answer = yield from selection_message(selection)
            return rpc_pb2.ResponseOp(response_range=answer)
        case "request_put":
            previous = run_put(store, operation.request_put)
            put = put_response(operation.request_put, previous) or rpc_pb2.PutResponse()
            put.header.revision = store.view_revision
            return rpc_pb2.ResponseOp(response_put=put)
        case "request_delete_range":
            delete = yield from run_delete(store, operation.request_delete_range)
            delete.header.revision = store.view_revision
            return rpc_pb2.ResponseOp(response_delete_range=delete)
        case _:
            return rpc_pb2.ResponseOp()
