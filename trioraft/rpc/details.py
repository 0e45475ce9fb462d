"""Rich errors: messages that travel with a status, packed into `google.rpc.Status`.

    raise rich_error(Status.INVALID_ARGUMENT, "no such fruit", [BadRequest(...)])   # a handler

    except GRPCError as error:                                                      # a caller
        problem = find_detail(error, BadRequest)

Any protobuf message can be a detail; the usual ones are `google.rpc.error_details_pb2` of the
package googleapis-common-protos. They travel as `grpc-status-details-bin`, which every gRPC
implementation with rich errors reads. A server sends no more than `Limits.max_status` of them.

Sources: gRPC error model (grpc.io, "Richer error model"), AIP-193. Not imported by `trioraft.rpc`:
who does without rich errors does not load their messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from trioraft._proto.grpc.status_pb2 import Status as StatusMessage

from .status import GRPCError, Status

__all__ = ["AnyMessage", "details_of", "find_detail", "find_details", "rich_error"]

M = TypeVar("M", bound=Message)


def rich_error(
    status: Status, message: str | None = None, details: Iterable[Message] = ()
) -> GRPCError:
    """The error to raise in a handler: a status with messages that say more about it.

    details: any protobuf messages, the most important first; one that is an `Any` already is
        sent as it is.

    Raises ValueError for OK, and what serializing a detail raises.
    """
    if status is Status.OK:
        raise ValueError("OK is no error")
    packed = StatusMessage(code=status.value, message=message or "")
    for detail in details:
        entry = packed.details.add()
        if detail.DESCRIPTOR.full_name == AnyMessage.DESCRIPTOR.full_name:
            entry.ParseFromString(detail.SerializeToString())
        else:
            entry.Pack(detail)
    return GRPCError(status, message, packed.SerializeToString())


def details_of(error: GRPCError) -> list[AnyMessage]:
    """The details that came with an error, as sent; types that nobody here knows included.

    None if there are none, or if what came is no `google.rpc.Status`: like everything else of
    the peer's making, that must not hide the status itself. Raises TypeError for an error made
    with details that are neither bytes nor a message.
    """
    raw = error.details
    if raw is None:
        return []
    if isinstance(raw, Message):
        raw = raw.SerializeToString()
    elif not isinstance(raw, bytes):
        raise TypeError(f"not the details of a status: {type(raw).__name__}")
    try:
        entries = StatusMessage.FromString(raw).details
    except DecodeError:
        return []
    return [AnyMessage(type_url=entry.type_url, value=entry.value) for entry in entries]


def find_details(error: GRPCError, kind: type[M]) -> list[M]:
    """The details of one type, e.g. `google.rpc.error_details_pb2.BadRequest`, in order.

    Leaves out those that do not decode. Raises TypeError as `details_of`.
    """
    found = []
    for entry in details_of(error):
        detail = kind()
        try:
            if entry.Unpack(detail):
                found.append(detail)
        except DecodeError:
            continue  # a mistake of the peer in one of them: the others may be whole
    return found


def find_detail(error: GRPCError, kind: type[M]) -> M | None:
    """The first detail of one type, None if there is none. Raises TypeError as `details_of`."""
    return next(iter(find_details(error, kind)), None)
