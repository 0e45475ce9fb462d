"""dRPC's statuses and errors.

Statuses are those of DAOS's `drpc.proto`. Two families of errors: `DrpcFailure` is an answer (a
handler raises one to choose the status, a client raises one when it got that status);
the others say that there was no usable answer, or no server.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "DrpcError",
    "DrpcFailure",
    "DrpcProtocolError",
    "DrpcStatus",
    "DrpcUnavailableError",
    "MarshalError",
    "SocketFileError",
    "UnknownMethodError",
    "UnknownModuleError",
    "failure_for",
]


class DrpcStatus(IntEnum):
    """`drpc.Status`. SUBMITTED is reserved: no server sends it."""

    SUCCESS = 0
    SUBMITTED = 1
    FAILURE = 2
    UNKNOWN_MODULE = 3
    UNKNOWN_METHOD = 4
    FAILED_UNMARSHAL_CALL = 5
    FAILED_UNMARSHAL_PAYLOAD = 6
    FAILED_MARSHAL = 7


class DrpcError(Exception):
    """Base of every error that `trioraft.drpc` raises on purpose."""


class DrpcFailure(DrpcError):
    """A call was answered with another status than SUCCESS.

    Attributes:
        status: The number on the wire: a `DrpcStatus`, or one that this version does not know.
    """

    def __init__(self, message: str, status: int = DrpcStatus.FAILURE) -> None:
        super().__init__(message)
        self.status = status


class UnknownModuleError(DrpcFailure):
    """The server has no module with this id. Check that it is the right socket."""

    def __init__(self, message: str = "unrecognized module id") -> None:
        super().__init__(message, DrpcStatus.UNKNOWN_MODULE)


class UnknownMethodError(DrpcFailure):
    """The module has no method with this id: the server is of another version."""

    def __init__(self, message: str = "unrecognized method id") -> None:
        super().__init__(message, DrpcStatus.UNKNOWN_METHOD)


class MarshalError(DrpcFailure):
    """The call, its payload or the reply could not be encoded or decoded; `status` says which."""


class DrpcProtocolError(DrpcError):
    """The peer answered something that no correct server sends: it is no dRPC server, or broken."""


class DrpcUnavailableError(DrpcError):
    """No server answers on the socket, or the connection was lost before the answer came.

    In the second case the call may have been carried out: repeat it only if that is harmless.
    """


class SocketFileError(DrpcError):
    """The socket file cannot be created; the message says what is there and what to do."""


def failure_for(status: int) -> DrpcFailure:
    """The error a client raises for a status other than SUCCESS."""
    if status == DrpcStatus.UNKNOWN_MODULE:
        return UnknownModuleError()
    if status == DrpcStatus.UNKNOWN_METHOD:
        return UnknownMethodError()
    if status == DrpcStatus.FAILED_UNMARSHAL_CALL:
        return MarshalError("the server could not decode the call", status)
    if status == DrpcStatus.FAILED_UNMARSHAL_PAYLOAD:
        return MarshalError("the server could not decode the method's payload", status)
    if status == DrpcStatus.FAILED_MARSHAL:
        return MarshalError("the server could not encode its reply", status)
    if status == DrpcStatus.FAILURE:
        return DrpcFailure("the server failed to carry out the call; its log says why")
    return DrpcFailure(
        f"the server answered status {status}, which this client does not know", status
    )
