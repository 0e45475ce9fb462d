"""The etcd v3 API in front of a node whose machine is `machines.kv`: translation only.

    await serve(etcd_services(backend), port=2379)

Methods that are not offered (watches, leases, authentication) are absent, so clients get
UNIMPLEMENTED.
"""

from __future__ import annotations

from trioraft.rpc import Service

from .backend import Answer, Backend, ClusterMember
from .cluster import ClusterService
from .kv import KvService
from .maintenance import MaintenanceService
from .unary import DEFAULT_REQUEST_TIMEOUT, Caller

__all__ = ["Answer", "Backend", "ClusterMember", "etcd_services"]


def etcd_services(
    backend: Backend, *, request_timeout: float = DEFAULT_REQUEST_TIMEOUT
) -> list[Service]:
    """The services to hand to `trioraft.rpc.serve`.

    `request_timeout` (seconds) bounds every call, whatever deadline the client set: 5 s plus two
    election timeouts, as etcd has it.
    """
    caller = Caller(backend, request_timeout)
    return [KvService(caller), ClusterService(caller), MaintenanceService(caller)]
