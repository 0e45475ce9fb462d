"""Errors of trioraft as gRPC statuses, and back, for trioraft's own protocol.

| error                      | status              | may it have happened? |
|----------------------------|---------------------|-----------------------|
| ChangeInProgressError      | FAILED_PRECONDITION | no                    |
| ConfigurationError         | INVALID_ARGUMENT    | no                    |
| ConfigurationMismatchError | FAILED_PRECONDITION | no                    |
| EntryTooLargeError         | INVALID_ARGUMENT    | no                    |
| GroupStoppedError          | INTERNAL            | yes                   |
| LeaderNotReadyError        | UNAVAILABLE         | no                    |
| NoQuorumError              | UNAVAILABLE         | no                    |
| NotLeaderError             | FAILED_PRECONDITION | no                    |
| OverloadedError            | RESOURCE_EXHAUSTED  | no                    |
| ProposalDroppedError       | ABORTED             | yes                   |
| SessionExpiredError        | ABORTED             | by an earlier attempt |
| StagingTimeoutError        | FAILED_PRECONDITION | no                    |
| UnknownGroupError          | NOT_FOUND           | no                    |

A lost connection is UNAVAILABLE too, without the `trioraft-error` trailer that names the class.
"""

from __future__ import annotations

from collections.abc import Mapping

from trioraft.node.peers import PeerUnreachableError, UnknownGroupError
from trioraft.raft.errors import (
    ChangeInProgressError,
    ConfigurationError,
    ConfigurationMismatchError,
    EntryTooLargeError,
    GroupStoppedError,
    LeaderNotReadyError,
    NoQuorumError,
    NotLeaderError,
    OverloadedError,
    ProposalDroppedError,
    SessionExpiredError,
    StagingTimeoutError,
    TrioraftError,
)
from trioraft.rpc import GRPCError, Status

__all__ = ["ERROR_TRAILER", "error_of", "status_of"]

ERROR_TRAILER = "trioraft-error"

_STATUS: dict[type[TrioraftError], Status] = {
    ChangeInProgressError: Status.FAILED_PRECONDITION,
    ConfigurationError: Status.INVALID_ARGUMENT,
    ConfigurationMismatchError: Status.FAILED_PRECONDITION,
    EntryTooLargeError: Status.INVALID_ARGUMENT,
    GroupStoppedError: Status.INTERNAL,
    LeaderNotReadyError: Status.UNAVAILABLE,
    NoQuorumError: Status.UNAVAILABLE,
    NotLeaderError: Status.FAILED_PRECONDITION,
    OverloadedError: Status.RESOURCE_EXHAUSTED,
    ProposalDroppedError: Status.ABORTED,
    SessionExpiredError: Status.ABORTED,
    StagingTimeoutError: Status.FAILED_PRECONDITION,
    UnknownGroupError: Status.NOT_FOUND,
}
_BY_NAME = {kind.__name__: kind for kind in _STATUS}


def status_of(error: TrioraftError) -> tuple[Status, dict[str, str]]:
    """The status and the trailing metadata for an error."""
    kind = next((kind for kind in type(error).__mro__ if kind in _STATUS), None)
    if kind is None:
        return Status.UNKNOWN, {}
    return _STATUS[kind], {ERROR_TRAILER: kind.__name__}


def error_of(error: GRPCError, trailers: Mapping[str, str | bytes] | None) -> TrioraftError:
    """The error behind a status, for a caller that wants to know whether a retry is safe.

    Without the trailer the transport failed: PeerUnreachableError.
    """
    name = (trailers or {}).get(ERROR_TRAILER)
    kind = _BY_NAME.get(name) if isinstance(name, str) else None
    message = error.message or error.status.name
    if kind is None:
        return PeerUnreachableError(f"{error.status.name}: {message}")
    if kind is NotLeaderError:
        return NotLeaderError(message=message)
    return kind(message)
