"""Length-prefixed messages, without I/O: one flag byte, four bytes of length, the message.

Source: gRPC over HTTP/2, "Length-Prefixed-Message" (PROTOCOL-HTTP2.md).
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import Protocol, TypeAlias

from trioraft.rpc.compression.bounded import Inflation
from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.status import GRPCError, Status

from .blocks import expect_blocks

#: Bytes in front of each message.
PREFIX_SIZE = 5

pack_prefix = Struct(">BI").pack

# Pieces of a body below this are joined as they come: an object each would cost many times theirs.
_CRUMB = 1024


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
        self.data: bytes = data

    def SerializeToString(self) -> bytes:
        """The bytes, as they are."""
        return self.data

    @classmethod
    def FromString(cls, data: bytes) -> bytes:
        """The received bytes, as they are."""
        return data


#: A message's body as it was received: its bytes, or those of a compressed one.
Body: TypeAlias = bytes | Inflation


def body_size(body: Body) -> int:
    """Bytes of memory that a message takes, inflated as far as it is."""
    return body.size if isinstance(body, Inflation) else len(body)


class Deframer:
    """Cuts a stream of DATA payloads into messages, whatever way it is split.

    A message's length is checked when its prefix is complete, before its body is kept. Nothing is
    inflated here, in the task that reads the connection: whoever takes the message does that.
    """

    __slots__ = ("_chunks", "_codec", "_compressed", "_encoding", "_limit", "_missing", "_prefix")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._codec: Codec | None = None  # of messages whose flag says that they are compressed
        self._compressed = False  # the incomplete message is
        self._encoding = ""  # the peer's name for it, and what we know, if that is not among it
        self._prefix = b""  # an incomplete prefix
        self._chunks: list[bytes | bytearray] = []  # an incomplete body, in pieces
        self._missing = 0  # bytes of that body still to come

    @property
    def incomplete(self) -> bool:
        """Whether the last message has begun but not ended."""
        return bool(self._prefix) or self._missing > 0

    def expect(self, codec: Codec) -> None:
        """Messages may be compressed with this codec."""
        self._codec = codec

    def expect_unknown(self, encoding: str, known: str) -> None:
        """Compressed messages are refused, because only what is `known` could be inflated."""
        self._encoding = f"{encoding!r}, which is not known here: {known} are"

    def feed(self, data: bytes, out: deque[Body]) -> None:
        """Append the messages that `data` completes to `out`.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED for a message above the limit, INTERNAL for an invalid
                flag or a compressed message without an encoding that is known. The deframer is of
                no use after.
        """
        if self._missing:
            missing = self._missing
            if len(data) < missing:
                if len(data) >= _CRUMB:
                    self._chunks.append(data)
                else:
                    self._gather(data)
                self._missing = missing - len(data)
                return
            self._chunks.append(data[:missing])
            whole = b"".join(self._chunks)
            expect_blocks(len(whole))
            out.append(self._inflation(whole) if self._compressed else whole)
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
            flag = data[position]
            if flag or size > self._limit:
                self._check(flag, size)
            position = body + size
            if position > end:
                self._missing = position - end
                self._chunks.append(data[body:])
                self._compressed = flag == 1
                return
            out.append(self._inflation(data[body:position]) if flag else data[body:position])

    def _gather(self, crumb: bytes) -> None:
        last = self._chunks[-1] if self._chunks else None
        if isinstance(last, bytearray):
            last += crumb
        else:
            self._chunks.append(bytearray(crumb))

    def drop(self) -> None:
        """Forget the incomplete message: nothing more is to be fed."""
        self._chunks.clear()
        self._prefix = b""
        self._missing = 0

    def _inflation(self, body: bytes) -> Inflation:
        assert self._codec is not None
        return Inflation(body, self._codec, self._limit)

    def _check(self, flag: int, size: int) -> None:
        """Let a compressed message of ours pass; refuse anything else that is unusual."""
        if flag != 1 or size > self._limit or self._codec is None:
            raise self._refusal(flag, size)

    def _refusal(self, flag: int, size: int) -> GRPCError:
        if flag > 1:
            return GRPCError(Status.INTERNAL, f"invalid flag {flag:#04x} in a message prefix")
        if flag and self._encoding:
            return GRPCError(Status.INTERNAL, f"a message is compressed with {self._encoding}")
        if flag and self._codec is None:
            return GRPCError(
                Status.INTERNAL,
                "invalid compressed flag in a message prefix: the headers name no grpc-encoding",
            )
        return GRPCError(
            Status.RESOURCE_EXHAUSTED,
            f"received a message of {size} bytes, over the limit of {self._limit}",
        )
