"""Statuses: grpclib's enum and exception, the status headers, and the mappings from HTTP.

Sources: gRPC over HTTP/2, "Responses" and "Errors" (PROTOCOL-HTTP2.md); "HTTP to gRPC Status Code
Mapping" (http-grpc-status-mapping.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError

from .metadata import decode_binary, encode_binary

log = logging.getLogger(__name__)

__all__ = [
    "GRPCError",
    "ProtocolError",
    "Status",
    "decode_message",
    "encode_message",
    "read_status",
    "status_from_http",
    "status_from_reset",
    "status_headers",
]

_STATUS_BY_CODE = {str(status.value).encode(): status for status in Status}
_CODE_BY_STATUS = {status: code for code, status in _STATUS_BY_CODE.items()}

_HTTP = {
    b"400": Status.INTERNAL,
    b"401": Status.UNAUTHENTICATED,
    b"403": Status.PERMISSION_DENIED,
    b"404": Status.UNIMPLEMENTED,
    b"429": Status.UNAVAILABLE,
    b"502": Status.UNAVAILABLE,
    b"503": Status.UNAVAILABLE,
    b"504": Status.UNAVAILABLE,
}

# RST_STREAM codes (RFC 9113 §7); every other code is INTERNAL.
_RESET = {
    0x7: Status.UNAVAILABLE,  # REFUSED_STREAM: the server has not looked at the call
    0x8: Status.CANCELLED,  # CANCEL
    0xB: Status.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: Status.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}
_RESET_NAMES = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

_ELLIPSIS = b"..."
_PLAIN = frozenset(range(0x20, 0x7F)) - {ord("%")}
_ESCAPED = [bytes([b]) if b in _PLAIN else b"%%%02X" % b for b in range(256)]


def encode_message(message: str) -> bytes:
    """Percent-encode a status message: UTF-8, with only printable ASCII but `%` left as is.

    Spaces at the ends are escaped too: a header value may not have them (RFC 9113 §8.2.1).
    """
    raw = message.encode("utf-8", "surrogatepass")
    if not (raw.isascii() and raw.decode("ascii").isprintable() and b"%" not in raw):
        raw = b"".join([_ESCAPED[byte] for byte in raw])
    inner = raw.strip(b" ")
    if len(inner) == len(raw):
        return raw
    before = len(raw) - len(raw.lstrip(b" "))
    return b"%20" * before + inner + b"%20" * (len(raw) - before - len(inner))


def decode_message(value: bytes) -> str:
    """Undo `encode_message`. Broken escapes stay as they are; broken UTF-8 becomes U+FFFD."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def status_headers(
    status: Status, message: str | None = None, details: object = None, *, limit: int
) -> list[tuple[bytes, bytes]]:
    """`grpc-status`, and if given `grpc-message` and `grpc-status-details-bin`.

    Args:
        details: Serialized `google.rpc.Status` as bytes, or a message that has
            `SerializeToString()`.
        limit: Bytes that the encoded message and details may have together: see
            `Limits.max_status`. Beyond it the message is cut, and the details are left out
            with a warning: a status with less to it is better than none.

    Raises:
        TypeError: `details` is neither.
    """
    headers = [(b"grpc-status", _CODE_BY_STATUS[status])]
    if message is not None:
        text = encode_message(message)
        if len(text) > limit:
            text = _cut(text, limit)
        headers.append((b"grpc-message", text))
        limit -= len(text)
    if details is not None:
        raw = details if isinstance(details, bytes) else _serialize(details)
        encoded = encode_binary(raw)
        if len(encoded) <= limit:
            headers.append((b"grpc-status-details-bin", encoded))
        else:
            log.warning(
                "the details of a status are left out: %d encoded bytes, room for %d",
                len(encoded),
                limit,
            )
    return headers


def _cut(encoded: bytes, limit: int) -> bytes:
    """The beginning of an encoded message, in whole characters."""
    room = encoded[: max(0, limit - len(_ELLIPSIS))]
    escape = room.rfind(b"%", -2)  # an escape whose end is cut off
    if escape >= 0:
        room = room[:escape]
    text = unquote_to_bytes(room).decode("utf-8", "ignore")
    return encode_message(text) + _ELLIPSIS


def _serialize(details: object) -> bytes:
    serialize = getattr(details, "SerializeToString", None)
    if serialize is None:
        raise TypeError("status details must be bytes or a serializable google.rpc.Status")
    raw: bytes = serialize()
    return raw


def read_status(headers: Iterable[tuple[bytes, bytes]]) -> GRPCError | Status:
    """The status that trailers carry: `Status.OK`, or the error to raise.

    A missing or unknown `grpc-status` is an UNKNOWN error that says so. The error's `details`
    are the raw bytes of `grpc-status-details-bin`, or None.
    """
    fields = dict(headers)
    code = fields.get(b"grpc-status")
    if code is None:
        return GRPCError(Status.UNKNOWN, "the server sent no grpc-status")
    status = _STATUS_BY_CODE.get(code)
    if status is Status.OK:
        return status
    text = fields.get(b"grpc-message")
    message = decode_message(text) if text is not None else None
    if status is None:
        return GRPCError(Status.UNKNOWN, f"unknown grpc-status {code!r}: {message}")
    raw = fields.get(b"grpc-status-details-bin")
    try:
        details = decode_binary(raw) if raw is not None else None
    except ValueError:
        details = None  # an unreadable detail must not hide the status it belongs to
    return GRPCError(status, message, details)


def status_from_http(code: bytes) -> GRPCError:
    """The error for a response that is not gRPC, by its HTTP status."""
    status = _HTTP.get(code, Status.UNKNOWN)
    return GRPCError(status, f"the server answered HTTP status {code.decode('ascii', 'replace')}")


def status_from_reset(code: int) -> GRPCError:
    """The error for a stream that the peer closed by RST_STREAM, by its code."""
    name = _RESET_NAMES[code] if code < len(_RESET_NAMES) else hex(code)
    return GRPCError(_RESET.get(code, Status.INTERNAL), f"stream reset by the peer: {name}")
