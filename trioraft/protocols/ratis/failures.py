"""Errors on the wire: status INTERNAL with trailers that name a Java exception class.

A Java peer rebuilds the exception from `exception-type` and the status message when there is no
`exception-object-bin`, which is serialized Java and is neither sent nor read here.
"""

from __future__ import annotations

from trioraft.node.peers import UnknownGroupError
from trioraft.protocols.calls import AppendStalledError
from trioraft.raft.errors import GroupStoppedError, OverloadedError, TrioraftError

__all__ = ["RatisError", "ratis_error", "trailers"]

_PACKAGE = "org.apache.ratis.protocol.exceptions."
_MAX_MESSAGE = 1024  # Java clients refuse trailers above 8 KiB

GROUP_MISMATCH = _PACKAGE + "GroupMismatchException"
SERVER_NOT_READY = _PACKAGE + "ServerNotReadyException"
RESOURCE_UNAVAILABLE = _PACKAGE + "ResourceUnavailableException"
TIMEOUT = _PACKAGE + "TimeoutIOException"
ILLEGAL_STATE = "java.lang.IllegalStateException"
IO_EXCEPTION = "java.io.IOException"


class RatisError(Exception):
    """A request that is answered with a Java exception's name instead of a reply."""

    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type
        self.message = message[:_MAX_MESSAGE]


#: What a handler or a codec may raise because of a request, and what `ratis_error` translates.
REQUEST_ERRORS = (RatisError, TrioraftError, ValueError)


def ratis_error(error: Exception) -> RatisError:
    """The Ratis form of one of REQUEST_ERRORS."""
    if isinstance(error, RatisError):
        return error
    if isinstance(error, UnknownGroupError):
        return RatisError(GROUP_MISMATCH, str(error))
    if isinstance(error, GroupStoppedError):
        return RatisError(SERVER_NOT_READY, str(error))
    if isinstance(error, OverloadedError):
        return RatisError(RESOURCE_UNAVAILABLE, str(error))
    if isinstance(error, AppendStalledError):
        return RatisError(TIMEOUT, str(error))
    if isinstance(error, ValueError):
        return RatisError(ILLEGAL_STATE, str(error))
    return RatisError(IO_EXCEPTION, str(error))


def trailers(
    error: RatisError, *, call_id: int = 0, heartbeat: bool | None = None
) -> dict[str, str]:
    """Trailing metadata; `heartbeat` is for appendEntries only."""
    metadata = {"exception-type": error.exception_type}
    if call_id > 0:
        metadata["call-id"] = str(call_id)
    if heartbeat is not None:
        metadata["heartbeat"] = "true" if heartbeat else "false"
    return metadata
