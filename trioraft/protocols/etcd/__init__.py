"""The etcd v3 API in front of a node whose machine is `machines.kv`: translation only.

    await serve(etcd_services(backend), port=2379)

Methods that are not offered (watches, leases, authentication) are absent, so clients get
UNIMPLEMENTED.
"""

from __future__ import annotations

from trioraft.rpc import Limited, Service

from .backend import Answer, Backend, ClusterMember
from .cluster import ClusterService
from .kv import KvService
from .maintenance import MaintenanceService
from .unary import DEFAULT_REQUEST_TIMEOUT, MAX_REQUEST_BYTES, Caller

__all__ = ["MAX_MESSAGE_BYTES", "Answer", "Backend", "ClusterMember", "etcd_services"]

MAX_MESSAGE_BYTES = MAX_REQUEST_BYTES + 512 * 1024
"""Bound on any message of a client; etcd's default: room above `MAX_REQUEST_BYTES`, so that a
request just above that is told so in etcd's words (etcd `api/v3rpc/grpc.go`)."""


def etcd_services(
    backend: Backend, *, request_timeout: float = DEFAULT_REQUEST_TIMEOUT
) -> list[Service]:
    """The services to hand to `trioraft.rpc.serve`.

    `request_timeout` (seconds) bounds every call, whatever deadline the client set: 5 s plus two
    election timeouts, as etcd has it. A request of more than `MAX_MESSAGE_BYTES` is refused with
    RESOURCE_EXHAUSTED when its length is read, whatever else the server would take.
    """
    caller = Caller(backend, request_timeout)
    offered = KvService(caller), ClusterService(caller), MaintenanceService(caller)
    return [Limited(service, MAX_MESSAGE_BYTES) for service in offered]
