"""Range: which pairs a request selects, and the reply's bytes.

Follows etcd's applier (`server/etcdserver/txn/range.go`), whose order of steps is visible from
outside: with a sort by something else than the key but no sort order, the limit cuts first and
the sort comes after; with an order or a min/max filter, the limit cuts last. Where etcd leaves
the order of equal elements open, ours is the order of the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

from trioraft._proto.etcd import kv_pb2, rpc_pb2

from .index import Pair, Version
from .steps import KEYS_PER_STEP, Steps, collect
from .store import Store, range_end

__all__ = ["Selection", "encode_selection", "key_value", "run_range", "selection_message"]

_UNLIMITED = 1 << 62

_Request = rpc_pb2.RangeRequest
_SORT_FIELDS: dict[int, Callable[[Version], Any]] = {
    _Request.VERSION: attrgetter("number"),
    _Request.CREATE: attrgetter("create"),
    _Request.MOD: attrgetter("mod"),
    _Request.VALUE: attrgetter("value"),
}


class Selection(NamedTuple):
    """The answer to a Range, before encoding."""

    revision: int
    pairs: Sequence[Pair]
    more: bool
    total: int
    keys_only: bool


def run_range(store: Store, request: rpc_pb2.RangeRequest) -> Steps[Selection]:
    """Answer a Range from the store. Raises KvError (compacted or future revision)."""
    current = store.view_revision
    at = request.revision if request.revision > 0 else current
    store.check_readable(at)
    end = range_end(request.range_end)
    limit = min(max(0, request.limit), _UNLIMITED)
    filtered = _has_filters(request)
    cut_early = limit + 1 if limit and not filtered and not request.sort_order else None
    if at == current:
        total = store.index.count(request.key, end)
        found = () if request.count_only else store.index.walk(request.key, end)
        pairs = yield from collect(islice(found, cut_early))
    else:
        pairs = yield from collect(store.index.walk_at(request.key, end, at))
        total = len(pairs)
        pairs = pairs[:cut_early]
    if request.count_only:
        return Selection(current, (), False, total, False)
    if filtered:
        pairs = [pair for pair in pairs if _passes(request, pair[1])]
    pairs = _sorted(request, pairs)
    more = 0 < limit < len(pairs)
    return Selection(current, pairs[:limit] if more else pairs, more, total, request.keys_only)


def _has_filters(request: rpc_pb2.RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: rpc_pb2.RangeRequest, version: Version) -> bool:
    """Whether `version` is within the bounds that are set (0 means not set)."""
    return (
        (not request.min_mod_revision or version.mod >= request.min_mod_revision)
        and (not request.max_mod_revision or version.mod <= request.max_mod_revision)
        and (not request.min_create_revision or version.create >= request.min_create_revision)
        and (not request.max_create_revision or version.create <= request.max_create_revision)
    )


def _sorted(request: rpc_pb2.RangeRequest, pairs: list[Pair]) -> list[Pair]:
    descending = request.sort_order == _Request.DESCEND
    field = _SORT_FIELDS.get(request.sort_target)
    if field is not None:
        return sorted(pairs, key=lambda pair: field(pair[1]), reverse=descending)
    return pairs[::-1] if descending else pairs


def key_value(key: bytes, version: Version, *, keys_only: bool = False) -> kv_pb2.KeyValue:
    """The wire form of a pair."""
    return kv_pb2.KeyValue(
        key=key,
        create_revision=version.create,
        mod_revision=version.mod,
        version=version.number,
        value=b"" if keys_only else version.value,
        lease=version.lease,
    )


def encode_selection(selection: Selection) -> Iterator[bytes]:
    """A RangeResponse without its header, in pieces of at most a few hundred pairs.

    Joined they are one message: protobuf lets the elements of a repeated field be
    concatenated. The pauses between pieces are where a long read lets others run.
    """
    pairs, keys_only = selection.pairs, selection.keys_only
    rest = len(pairs)
    for start in range(0, max(1, rest), KEYS_PER_STEP):
        piece = pairs[start : start + KEYS_PER_STEP]
        rest -= len(piece)
        response = rpc_pb2.RangeResponse(
            kvs=[key_value(key, version, keys_only=keys_only) for key, version in piece]
        )
        if not rest:
            response.more, response.count = selection.more, selection.total
        yield response.SerializeToString()


def selection_message(selection: Selection) -> Steps[rpc_pb2.RangeResponse]:
    """A RangeResponse as it appears inside a TxnResponse: its header has only the revision."""
    keys_only = selection.keys_only
    kvs = yield from collect(
        key_value(key, version, keys_only=keys_only) for key, version in selection.pairs
    )
    return rpc_pb2.RangeResponse(
        header=rpc_pb2.ResponseHeader(revision=selection.revision),
        kvs=kvs,
        more=selection.more,
        count=selection.total,
    )
