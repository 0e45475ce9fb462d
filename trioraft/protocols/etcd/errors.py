"""trioraft's errors as the gRPC statuses and messages that etcd's clients know.

Clients decide by them: the Go client retries reads on UNAVAILABLE at another endpoint, and
recognizes etcd's own errors by the text (etcd `api/v3rpc/rpctypes/error.go`).
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from trioraft.machines.kv import KvError
from trioraft.raft.errors import (
    ChangeInProgressError,
    EntryTooLargeError,
    GroupStoppedError,
    LeaderNotReadyError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    TrioraftError,
)
from trioraft.rpc import GRPCError, Status

__all__ = [
    "LEADER_CHANGED",
    "NOT_FOR_LEARNER",
    "NOT_LEADER",
    "NO_LEADER",
    "REQUEST_TOO_LARGE",
    "TIMED_OUT",
    "to_grpc_error",
]

NO_LEADER = (Status.UNAVAILABLE, "etcdserver: no leader")
NOT_LEADER = (Status.FAILED_PRECONDITION, "etcdserver: not leader")
LEADER_CHANGED = (Status.UNAVAILABLE, "etcdserver: leader changed")
TIMED_OUT = (Status.UNAVAILABLE, "etcdserver: request timed out")
STOPPED = (Status.UNAVAILABLE, "etcdserver: server stopped")
REQUEST_TOO_LARGE = (Status.INVALID_ARGUMENT, "etcdserver: request is too large")
NOT_FOR_LEARNER = (Status.FAILED_PRECONDITION, "etcdserver: rpc not supported for learner")

_LEADER_FAILED = (
    Status.UNAVAILABLE,
    "etcdserver: request timed out, possibly due to previous leader failure",
)
_TOO_MANY_REQUESTS = (Status.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
_CHANGE_IN_PROGRESS = (
    Status.UNAVAILABLE,
    "etcdserver: the members are being changed already",
)

_STATUSES: tuple[tuple[type[TrioraftError], tuple[Status, str]], ...] = (
    (NoQuorumError, TIMED_OUT),
    (ProposalDroppedError, _LEADER_FAILED),
    (OverloadedError, _TOO_MANY_REQUESTS),
    (ChangeInProgressError, _CHANGE_IN_PROGRESS),
    (LeaderNotReadyError, LEADER_CHANGED),
    (EntryTooLargeError, REQUEST_TOO_LARGE),
    (GroupStoppedError, STOPPED),
)


def to_grpc_error(error: TrioraftError | DecodeError) -> GRPCError:
    """The status for an error of the store, of the node, or of a request that does not decode."""
    match error:
        case KvError():
            return GRPCError(Status(error.status), error.message)
        case NotLeaderError():
            return GRPCError(*(LEADER_CHANGED if error.leader else NO_LEADER))
        case DecodeError():
            return GRPCError(
                Status.INVALID_ARGUMENT, f"etcdserver: request cannot be decoded: {error}"
            )
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return GRPCError(*status)
    return GRPCError(Status.UNKNOWN, f"etcdserver: {error}")
