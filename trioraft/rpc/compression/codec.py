"""What an encoding is: a name on the wire, and two factories in the standard library's shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Codec", "Deflater", "Inflater"]

_NAME = re.compile(r"[0-9a-z_.\-]+")


class Deflater(Protocol):
    """Compresses one message; `bz2.BZ2Compressor` and the like are one."""

    def compress(self, data: bytes, /) -> bytes:
        """Take more of the message; returns what is ready."""

    def flush(self) -> bytes:
        """The message is complete; returns the rest."""


class Inflater(Protocol):
    """Decompresses one message, never more of it at once than it is asked for.

    The interface of `bz2.BZ2Decompressor`, `lzma.LZMADecompressor`, and
    `compression.zstd.ZstdDecompressor`.
    """

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        """Take more input; returns at most `max_length` bytes. What is raised is bad input."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed stream has been seen."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""

    @property
    def unused_data(self) -> bytes:
        """Input behind the end of the compressed stream."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One message encoding. Make your own from any pair of incremental compressor classes:

        Codec("bzip2", bz2.BZ2Compressor, bz2.BZ2Decompressor)

    Attributes:
        name: What stands in `grpc-encoding`: lower-case letters, digits, `_`, `-` and `.`.
        deflater: Makes a compressor for one message.
        inflater: Makes a decompressor for one message. What it holds besides the output it is
            asked for (a window, say) is to be bounded: received messages decide about it.
    """

    name: str
    deflater: Callable[[], Deflater]
    inflater: Callable[[], Inflater]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "identity":
            raise ValueError(f"not a name for a message encoding: {self.name!r}")
