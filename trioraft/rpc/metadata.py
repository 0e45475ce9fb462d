"""Custom metadata: between header fields on the wire and a multidict in the application.

Keys ending in `-bin` carry bytes, base64 on the wire: sent without padding, accepted with or
without, and split at commas, because intermediaries may join repeated fields.
Source: gRPC over HTTP/2, "Custom-Metadata" (PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from multidict import MultiDict

Value: TypeAlias = str | bytes
Metadata: TypeAlias = MultiDict[Value]
MetadataLike: TypeAlias = Mapping[str, Value] | Collection[tuple[str, Value]]

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_KEY = re.compile(r"[0-9a-z_.\-]+")
_VALUE = re.compile(r"[ -~]*")
_RESERVED = frozenset({"te", "content-type", "user-agent", "host", "connection"})
_HIDDEN = frozenset({b"te", b"content-type", b"user-agent"})
_DETAILS = b"grpc-status-details-bin"


def encode_binary(value: bytes) -> bytes:
    """Base64 without padding."""
    return b64encode(value).rstrip(b"=")


def decode_binary(value: bytes) -> bytes:
    """Base64 with or without padding.

    Raises:
        ValueError: Not base64.
    """
    try:
        bare = value.rstrip(b"=")
        return a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except Base64Error as error:
        raise ValueError(f"invalid base64 in binary metadata: {error}") from None


def encode_metadata(metadata: MetadataLike) -> list[tuple[bytes, bytes]]:
    """Header fields for application metadata, in the given order.

    Raises:
        ValueError: A key is not lower-case `[0-9a-z_.-]+`, is reserved (`grpc-...`, `te`,
            `content-type`, `user-agent`, ...), or a text value is not printable ASCII.
        TypeError: A `-bin` value is not bytes, or another value is not str.
    """
    pairs = metadata.items() if isinstance(metadata, Mapping) else metadata
    headers = []
    for key, value in pairs:
        if not _KEY.fullmatch(key) or key.startswith("grpc-") or key in _RESERVED:
            raise ValueError(f"invalid or reserved metadata key: {key!r}")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"metadata {key!r} takes bytes, not {type(value).__name__}")
            headers.append((key.encode("ascii"), encode_binary(value)))
        else:
            if not isinstance(value, str):
                raise TypeError(f"metadata {key!r} takes str, not {type(value).__name__}")
            if not _VALUE.fullmatch(value) or value != value.strip(" "):
                raise ValueError(
                    f"metadata {key!r} must be printable ASCII without spaces around: {value!r}"
                )
            headers.append((key.encode("ascii"), value.encode("ascii")))
    return headers


def decode_metadata(headers: Headers) -> Metadata:
    """Application metadata in received header fields.

    Protocol fields (`:...`, `grpc-...`, `te`, `content-type`, `user-agent`) are left out, except
    `grpc-status-details-bin`, which is handed on. Values that do not decode are left out too: the
    peer's mistake in a field the application may never look at should not end the call.
    """
    metadata: Metadata = MultiDict()
    for name, value in headers:
        if name in _HIDDEN or name[:1] == b":":
            continue
        if name[:5] == b"grpc-" and name != _DETAILS:
            continue
        key = name.decode("ascii", "replace")
        if name[-4:] == b"-bin":
            for part in value.split(b","):
                try:
                    metadata.add(key, decode_binary(part.strip()))
                except ValueError:
                    continue
        else:
            metadata.add(key, value.decode("latin-1"))
    return metadata
