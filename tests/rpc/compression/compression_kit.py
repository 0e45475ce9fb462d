"""What the tests of compressed calls share: texts, codecs, a channel with its server."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from trioraft.rpc import Codec, GRPCError, Limits, Status
from trioraft.rpc.compression import GZIP
from trioraft.rpc.testing import open_test_channel

BZIP2 = Codec("bzip2", bz2.BZ2Compressor, bz2.BZ2Decompressor)
TEXT = b"to be or not to be " * 50


@contextmanager
def refused(status: Status, text: str) -> Iterator[None]:
    with pytest.raises(GRPCError, match=text) as caught:
        yield
    assert caught.value.status is status


def channel_and_server(
    service: Any, client: Any = None, server: Any = None, limits: Limits | None = None
) -> Any:
    return open_test_channel(
        [service], compression=server, client_compression=client, limits=limits
    )


def framed(body: bytes, flag: int = 1) -> bytes:
    return bytes([flag]) + len(body).to_bytes(4, "big") + body


def gzipped(data: bytes) -> bytes:
    deflater = GZIP.deflater()
    return deflater.compress(data) + deflater.flush()
