"""Compressing and inflating one message in small steps, with bounds on memory and time.

A step costs at most about a millisecond: it takes 64 KiB of input, or gives 256 KiB of output.
Between steps whoever can wait gives way to other tasks.
"""

from __future__ import annotations

import trio

from trioraft.rpc.status import GRPCError, Status

from .codec import Codec

__all__ = ["Compressed", "Inflation", "compress", "compress_now"]

_INPUT = 64 * 1024
_OUTPUT = 256 * 1024


class Compressed(bytes):
    """The body of a message to send that is compressed already."""

    __slots__ = ()


class Inflation:
    """A received compressed message on its way to its bytes.

    Holds the compressed body and at most `limit` + 1 bytes of output. `len()` is what the body
    takes on the wire, also when it is inflated.
    """

    __slots__ = (
        "_body",
        "_chunks",
        "_codec",
        "_done",
        "_inflater",
        "_limit",
        "_position",
        "_wire",
        "size",
    )

    def __init__(self, body: bytes, codec: Codec, limit: int) -> None:
        self._body = body
        self._wire = len(body)
        self._codec = codec
        self._inflater = codec.inflater()
        self._limit = limit
        self._done = False
        self._position = 0  # of the input that was taken
        self._chunks: list[bytes] = []
        #: Bytes that are inflated so far.
        self.size: int = 0

    def __len__(self) -> int:
        return self._wire

    def step(self) -> bool:
        """Do a bounded piece of the work; whether the message is complete.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED: the message is over the limit. INTERNAL: it cannot be
                inflated, ends too early, or goes on behind its end.
        """
        inflater = self._inflater
        if self._done:
            return True
        piece = b""
        if inflater.needs_input:
            piece = self._body[self._position : self._position + _INPUT]
            self._position += len(piece)
            if not piece:
                raise self._bad("it ends too early")
        room = min(_OUTPUT, self._limit + 1 - self.size)
        try:
            output = inflater.decompress(piece, room)
        except Exception as error:  # whatever a codec's library raises for bad input
            raise self._bad(str(error)) from error
        if output:
            self._chunks.append(output)
            self.size += len(output)
            if self.size > self._limit:
                raise GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"received a message that is over the limit of {self._limit} bytes when it is "
                    f"inflated ({self._codec.name}, {self._wire} bytes compressed)",
                )
        if not inflater.eof:
            return False
        extra = len(inflater.unused_data) + len(self._body) - self._position
        if extra:
            raise self._bad(f"{extra} bytes follow its end")
        self._body = b""
        self._done = True
        return True

    def result(self) -> bytes:
        """The message, once `step` has said that it is complete."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _bad(self, problem: str) -> GRPCError:
        return GRPCError(
            Status.INTERNAL, f"cannot inflate a message ({self._codec.name}): {problem}"
        )


def compress_now(data: bytes, codec: Codec) -> bytes:
    """Compress without waiting, however large. What does not get smaller is returned as it is."""
    if not data:
        return data
    deflater = codec.deflater()
    body = deflater.compress(data) + deflater.flush()
    return Compressed(body) if len(body) < len(data) else data


async def compress(data: bytes, codec: Codec) -> bytes:
    """As `compress_now`, but gives way after each 64 KiB. No checkpoint below that."""
    if len(data) <= _INPUT:
        return compress_now(data, codec)
    deflater = codec.deflater()
    parts = []
    for start in range(0, len(data), _INPUT):
        parts.append(deflater.compress(data[start : start + _INPUT]))
        await trio.lowlevel.checkpoint()
    parts.append(deflater.flush())
    body = b"".join(parts)
    return Compressed(body) if len(body) < len(data) else data
