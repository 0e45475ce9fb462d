"""Message compression: what the encodings are, how two ends agree on them, and bounded inflating.

Sources: gRPC's compression.md; gRPC over HTTP/2, "Message-Encoding" (PROTOCOL-HTTP2.md).
"""

from .codec import Codec, Deflater, Inflater
from .codecs import CODECS, DEFLATE, GZIP, ZSTD, deflate_codec, gzip_codec, zstd_codec
from .settings import IDENTITY, Compression, CompressionLike

__all__ = [
    "CODECS",
    "DEFLATE",
    "GZIP",
    "IDENTITY",
    "ZSTD",
    "Codec",
    "Compression",
    "CompressionLike",
    "Deflater",
    "Inflater",
    "deflate_codec",
    "gzip_codec",
    "zstd_codec",
]
