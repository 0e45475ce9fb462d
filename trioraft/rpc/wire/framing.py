"""Length-prefixed messages, without I/O: one flag byte, four bytes of length, the message.

Source: gRPC over HTTP/2, "Length-Prefixed-Message" (PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Protocol

from trioraft.rpc.status import GRPCError, Status

#: Bytes in front of each message.
PREFIX_SIZE = 5

pack_prefix = Struct(">BI").pack


class Message(Protocol):
    """What a message to send must be able to do: every protobuf message is one."""

    def SerializeToString(self) -> bytes: ...


class Encoded:
    """A message that is bytes already, on either end of a call.

    As a message to send it stands for its bytes, wherever a typed message is expected. As the
    request or reply type of a call (`channel.request(path, cardinality, Encoded, Encoded)`, or in
    a service's `Handler`) it makes received messages arrive as plain `bytes`, undecoded.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def SerializeToString(self) -> bytes:
        """The bytes, as they are."""
        return self.data

    @classmethod
    def FromString(cls, data: bytes) -> bytes:
        """The received bytes, as they are."""
        return data


class Deframer:
    """Cuts a stream of DATA payloads into messages, whatever way it is split.

    A message's length is checked when its prefix is complete, before its body is kept.
    """

    __slots__ = ("_chunks", "_limit", "_missing", "_prefix")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prefix = b""  # an incomplete prefix
        self._chunks: list[bytes] = []  # an incomplete body, in pieces
        self._missing = 0  # bytes of that body still to come

    @property
    def incomplete(self) -> bool:
        """Whether the last message has begun but not ended."""
        return bool(self._prefix) or self._missing > 0

    def feed(self, data: bytes, out: deque[bytes]) -> None:
        """Append the messages that `data` completes to `out`.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message above the limit, UNIMPLEMENTED for a
                compressed one, INTERNAL for an invalid flag. The deframer is of no use after.
        """
        if self._missing:
            missing = self._missing
            if len(data) < missing:
                self._chunks.append(data)
                self._missing = missing - len(data)
                return
            self._chunks.append(data[:missing])
            out.append(b"".join(self._chunks))
            self._chunks.clear()
            self._missing = 0
            data = data[missing:]
        elif self._prefix:
            data = self._prefix + data
            self._prefix = b""
        position, end = 0, len(data)
        while position < end:
            body = position + PREFIX_SIZE
            if body > end:
                self._prefix = data[position:]
                return
            size = int.from_bytes(data[position + 1 : body], "big")
            if data[position] or size > self._limit:
                raise self._refusal(data[position], size)
            position = body + size
            if position > end:
                self._missing = position - end
                self._chunks.append(data[body:])
                return
            out.append(data[body:position])

    def _refusal(self, flag: int, size: int) -> GRPCError:
        if flag == 1:
            return GRPCError(
                Status.UNIMPLEMENTED,
                "compressed messages are not supported: only the identity encoding is",
            )
        if flag:
            return GRPCError(Status.INTERNAL, f"invalid flag {flag:#04x} in a message prefix")
        return GRPCError(
            Status.RESOURCE_EXHAUSTED,
            f"received a message of {size} bytes, over the limit of {self._limit}",
        )
