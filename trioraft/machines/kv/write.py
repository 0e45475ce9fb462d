"""Put and DeleteRange: checks against the store, the change, the reply without its header."""

from __future__ import annotations

from trioraft._proto.etcd import rpc_pb2

from .errors import EMPTY_KEY, KEY_NOT_FOUND, LEASE_NOT_FOUND, KvError
from .index import Version
from .read import key_value
from .steps import Steps, collect
from .store import Store, range_end

__all__ = ["check_put", "put_response", "run_delete", "run_put"]


def check_put(store: Store, request: rpc_pb2.PutRequest, *, lease_first: bool = False) -> None:
    """Raise KvError unless `run_put` will succeed.

    There are no leases yet, so every lease but 0 is unknown. When a request has several faults,
    a plain put names the lease first and a put inside a transaction names it last, as in etcd.
    """
    if not request.key:
        raise KvError(*EMPTY_KEY)
    if lease_first and request.lease:
        raise KvError(*LEASE_NOT_FOUND)
    if (request.ignore_value or request.ignore_lease) and store.index.newest(request.key) is None:
        raise KvError(*KEY_NOT_FOUND)
    if request.lease:
        raise KvError(*LEASE_NOT_FOUND)


def run_put(store: Store, request: rpc_pb2.PutRequest) -> Version | None:
    """Carry out a put that `check_put` let pass; returns the version before it."""
    value, lease = request.value, request.lease
    if request.ignore_value or request.ignore_lease:
        # A deletion earlier in the same transaction may have taken away what the check saw. etcd
        # 3.4 crashes there; here the put then writes what the request itself has.
        previous = store.index.newest(request.key)
        if previous is not None:
            value = previous.value if request.ignore_value else value
            lease = previous.lease if request.ignore_lease else lease
    return store.put(request.key, value, lease)


def put_response(
    request: rpc_pb2.PutRequest, previous: Version | None
) -> rpc_pb2.PutResponse | None:
    """The reply, or None if it has no field but the header."""
    if previous is None or not request.prev_kv:
        return None
    return rpc_pb2.PutResponse(prev_kv=key_value(request.key, previous))


def run_delete(
    store: Store, request: rpc_pb2.DeleteRangeRequest
) -> Steps[rpc_pb2.DeleteRangeResponse]:
    """Delete the range; returns the reply without its header."""
    deleted = yield from store.delete(request.key, range_end(request.range_end))
    told = deleted if request.prev_kv else ()
    previous = yield from collect(key_value(key, version) for key, version in told)
    return rpc_pb2.DeleteRangeResponse(deleted=len(deleted), prev_kvs=previous)
