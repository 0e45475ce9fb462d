"""The encodings that come with the package: gzip, deflate, and zstd where its library is.

`deflate` is the zlib format, as in HTTP and in every gRPC implementation, not bare DEFLATE.
zstd (RFC 8878) is `compression.zstd` of Python 3.14, or `backports.zstd` (`trioraft[zstd]`).
"""

from __future__ import annotations

import importlib
import sys
import zlib
from functools import partial
from typing import Any

from .codec import Codec

__all__ = ["CODECS", "DEFLATE", "GZIP", "ZSTD", "deflate_codec", "gzip_codec", "zstd_codec"]

_ZLIB, _GZIP = 15, 31  # window of 32 KiB; 16 more is zlib's way of asking for gzip's format
_MAX_ZSTD_WINDOW_LOG = 23


class _ZlibInflater:
    """`zlib.decompressobj` in the shape of the standard library's other decompressors."""

    __slots__ = ("_inner", "needs_input")

    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self.needs_input = True

    def decompress(self, data: bytes, /, max_length: int) -> bytes:
        inner = self._inner
        if inner.unconsumed_tail:
            data = inner.unconsumed_tail + data
        output = inner.decompress(data, max_length)
        self.needs_input = not inner.unconsumed_tail and len(output) < max_length
        return output

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def gzip_codec(level: int = 6) -> Codec:
    """gzip (RFC 1952). `level`: 1 is fastest, 9 smallest. ValueError for any other."""
    return _zlib_codec("gzip", _GZIP, level)


def deflate_codec(level: int = 6) -> Codec:
    """The zlib format (RFC 1950). `level`: 1 is fastest, 9 smallest. ValueError for any other."""
    return _zlib_codec("deflate", _ZLIB, level)


def _zlib_codec(name: str, window_bits: int, level: int) -> Codec:
    if not 1 <= level <= 9:
        raise ValueError(f"{name} has levels 1 to 9, not {level}")
    deflater = partial(zlib.compressobj, level, zlib.DEFLATED, window_bits)
    return Codec(name, deflater, partial(_ZlibInflater, window_bits))


def zstd_codec(level: int = 3) -> Codec:
    """zstd (RFC 8878). Received frames may ask for a window of 8 MiB, as that RFC recommends.

    Args:
        level: 1 is fastest, 19 smallest. Higher ones exist, with windows that peers may refuse.

    Raises:
        ImportError: Neither `compression.zstd` nor `backports.zstd` is here.
        ValueError: Not a level.
    """
    if not 1 <= level <= 19:
        raise ValueError(f"zstd has levels 1 to 19 here, not {level}")
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    zstd: Any = importlib.import_module(name)
    bound = {zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG}
    return Codec(
        "zstd",
        partial(zstd.ZstdCompressor, level),
        partial(zstd.ZstdDecompressor, options=bound),
    )


def _zstd() -> Codec | None:
    try:
        return zstd_codec()
    except ImportError:
        return None


GZIP = gzip_codec()
DEFLATE = deflate_codec()
#: None where there is no library for it.
ZSTD = _zstd()

#: What an endpoint knows unless it is told otherwise.
CODECS: tuple[Codec, ...] = (DEFLATE, GZIP) if ZSTD is None else (DEFLATE, GZIP, ZSTD)
