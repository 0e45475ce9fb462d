"""The read that clients ask most: one key as it is now. A third of the work of the general way."""

from __future__ import annotations

from trioraft._proto.etcd import rpc_pb2

from .store import Store

__all__ = ["read_point"]


def read_point(store: Store, request: rpc_pb2.RangeRequest, max_bytes: int) -> bytes | None:
    """The RangeResponse of `request`, without a header; order and limit mean nothing for one key.

    None if `run_range` must find it, or if the value is above `max_bytes`.
    """
    if (
        request.range_end
        or request.revision
        or request.count_only
        or request.keys_only
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    ):
        return None
    response = rpc_pb2.RangeResponse()
    version = store.index.newest(request.key)
    if version is not None:
        if len(version.value) > max_bytes:
            return None
        pair = response.kvs.add()
        pair.key = request.key
        pair.create_revision = version.create
        pair.mod_revision = version.mod
        pair.version = version.number
        pair.value = version.value
        pair.lease = version.lease
        response.count = 1
    return response.SerializeToString()
