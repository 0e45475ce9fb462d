"""Modules and methods: what a dRPC server offers, both named by number.

Ids are global in DAOS: method ids of module m lie in [100*m+1, 100*m+99]. Nothing enforces that,
neither there nor here: a method id is interpreted by its module only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from google.protobuf.message import DecodeError, EncodeError

from .errors import DrpcStatus, MarshalError

__all__ = ["Caller", "Method", "Module", "typed"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end of the socket, as the kernel says (SO_PEERCRED); None: unknown."""

    pid: int | None = None
    uid: int | None = None
    gid: int | None = None


#: Takes the call's body, gives the reply's. Raises `DrpcFailure` to choose the status; any other
#: exception becomes FAILURE. Cancelled when the caller goes away, where the transport can tell.
Method = Callable[[bytes, Caller], Awaitable[bytes]]


class _Message(Protocol):
    """The part of a protobuf message that is used here."""

    @classmethod
    def FromString(cls, s: bytes) -> Self: ...

    def SerializeToString(self) -> bytes: ...


_Request = TypeVar("_Request", bound=_Message)


@dataclass(frozen=True, slots=True)
class Module:
    """A module: its id (int32), a name for logs, and its methods by id (int32)."""

    id: int
    name: str
    methods: Mapping[int, Method] = field(default_factory=dict)


def typed(
    request_type: type[_Request],
    handler: Callable[[_Request, Caller], Awaitable[_Message]],
) -> Method:
    """A method whose payloads are protobuf messages.

    A body that is not a `request_type` is answered with FAILED_UNMARSHAL_PAYLOAD, a reply that
    cannot be serialized with FAILED_MARSHAL.
    """

    async def method(body: bytes, caller: Caller) -> bytes:
        try:
            request = request_type.FromString(body)
        except DecodeError as error:
            raise MarshalError(
                "failed to unmarshal method-specific payload", DrpcStatus.FAILED_UNMARSHAL_PAYLOAD
            ) from error
        reply = await handler(request, caller)
        try:
            return reply.SerializeToString()
        except (EncodeError, ValueError) as error:
            raise MarshalError(
                "failed to marshal response payload", DrpcStatus.FAILED_MARSHAL
            ) from error

    return method
