"""Codecs by themselves: round trips, other libraries' output, and inflating in bounded steps."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import random
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft.rpc import Codec, Compression, GRPCError, Status
from trioraft.rpc.compression import (
    CODECS,
    DEFLATE,
    GZIP,
    ZSTD,
    deflate_codec,
    gzip_codec,
    zstd_codec,
)
from trioraft.rpc.compression.bounded import Compressed, Inflation, compress, compress_now
from trioraft.rpc.compression.settings import accepted_by, negotiate

BZIP2 = Codec("bzip2", bz2.BZ2Compressor, bz2.BZ2Decompressor)
XZ = Codec("xz", lzma.LZMACompressor, lzma.LZMADecompressor)
ALL = [*CODECS, BZIP2, XZ]

needs_zstd = pytest.mark.skipif(ZSTD is None, reason="no library for zstd")


def inflate(body: bytes, codec: Codec, limit: int = 1 << 30) -> bytes:
    inflation = Inflation(body, codec, limit)
    while not inflation.step():
        assert inflation.size <= limit + 1
    return inflation.result()


def whole(data: bytes, codec: Codec) -> bytes:
    """Compressed, whether that makes it smaller or not."""
    deflater = codec.deflater()
    return deflater.compress(data) + deflater.flush()


def bomb(codec: Codec) -> bytes:
    """A GiB of zeros; of bzip2 64 MiB, because making it takes long."""
    zeros, deflater = bytes(1 << 20), codec.deflater()
    if codec in (GZIP, DEFLATE):
        repeatable = [
            deflater.compress(zeros) + deflater.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
        ]
        return repeatable[0] + repeatable[1] * 1023 + deflater.flush()
    rounds = 64 if codec is BZIP2 else 1024
    return b"".join([deflater.compress(zeros) for _ in range(rounds)]) + deflater.flush()


@pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)
@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 256 * 1024, 256 * 1024 + 1, 600_000])
def test_round_trips_that_end_exactly_at_the_limit(codec: Codec, size: int) -> None:
    for data in (bytes(size), random.Random(size).randbytes(size)):
        body = whole(data, codec)
        assert inflate(body, codec, limit=size) == data
        if size:
            with pytest.raises(GRPCError) as caught:
                inflate(body, codec, limit=size - 1)
            assert caught.value.status is Status.RESOURCE_EXHAUSTED


@given(data=st.binary(max_size=2000), codec=st.sampled_from(ALL))
def test_what_is_compressed_inflates_to_itself(data: bytes, codec: Codec) -> None:
    body = compress_now(data * 3, codec)
    if isinstance(body, Compressed):
        assert len(body) < 3 * len(data)
        assert inflate(bytes(body), codec) == data * 3
    else:
        assert body == data * 3


def test_formats_are_those_of_the_standards() -> None:
    data = b"to be or not to be " * 100
    assert gzip.decompress(whole(data, GZIP)) == data
    assert zlib.decompress(whole(data, DEFLATE)) == data  # zlib's format, not bare DEFLATE
    assert inflate(gzip.compress(data), GZIP) == data
    assert inflate(zlib.compress(data, 9), DEFLATE) == data
    with pytest.raises(GRPCError, match="cannot inflate"):
        inflate(zlib.compress(data)[2:-4], DEFLATE)


def test_levels() -> None:
    data = random.Random(1).randbytes(1000) * 2 + bytes(range(256)) * 200
    for make in (gzip_codec, deflate_codec):
        assert len(whole(data, make(9))) <= len(whole(data, make(1)))
        with pytest.raises(ValueError, match="levels 1 to 9"):
            make(10)


@needs_zstd
def test_zstd_levels_keep_to_the_window_that_we_accept() -> None:
    data = random.Random(2).randbytes(10 << 20)
    codec = zstd_codec(19)
    assert inflate(whole(data[: 1 << 20], codec), codec) == data[: 1 << 20]
    with pytest.raises(ValueError, match="levels 1 to 19"):
        zstd_codec(20)


@needs_zstd
def test_zstd_frames_with_too_large_a_window_are_refused() -> None:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    zstd = importlib.import_module(name)
    options = {zstd.CompressionParameter.window_log: 27}
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(bytes(1000)) + compressor.flush()
    with pytest.raises(GRPCError, match="cannot inflate") as caught:
        inflate(body, zstd_codec())
    assert caught.value.status is Status.INTERNAL


@pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)
def test_bodies_that_are_broken(codec: Codec) -> None:
    body = whole(random.Random(3).randbytes(1000) * 200, codec)
    for broken, problem in (
        (body[:-1], "ends too early"),
        (body[: len(body) // 2], "ends too early"),
        (b"", "ends too early"),
        (body + b"x", "1 bytes follow its end"),
        (body + bytes(200_000), "200000 bytes follow its end"),
        (body + body, "bytes follow its end"),  # several members, as gzip calls it
        (b"no such format", "cannot inflate"),
    ):
        with pytest.raises(GRPCError, match=problem) as caught:
            inflate(broken, codec)
        assert caught.value.status is Status.INTERNAL


@given(body=st.binary(max_size=300), cut=st.integers(0, 60), codec=st.sampled_from(ALL))
def test_no_bytes_do_anything_but_end_the_message(body: bytes, cut: int, codec: Codec) -> None:
    """Garbage, and garbage behind a valid beginning."""
    for data in (body, whole(bytes(100), codec)[:cut] + body):
        with suppress(GRPCError):
            assert len(inflate(data, codec, limit=1000)) <= 1000


@pytest.mark.parametrize("codec", [*CODECS, BZIP2], ids=lambda codec: codec.name)
def test_a_bomb_takes_no_more_memory_than_the_limit(codec: Codec) -> None:
    body = bomb(codec)
    assert len(body) < 1_100_000
    limit = 4 << 20
    inflation = Inflation(body, codec, limit)
    tracemalloc.start()
    try:
        with pytest.raises(GRPCError, match="over the limit of 4194304") as caught:
            while not inflation.step():
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert peak < limit + (1 << 20)


def test_a_body_of_empty_blocks_ends_after_its_own_length() -> None:
    """Much input for no output at all: a step takes a bounded piece of it."""
    deflater = zlib.compressobj()
    body = deflater.compress(b"") + deflater.flush(zlib.Z_FULL_FLUSH)
    body += b"\0\0\0\xff\xff" * 200_000  # stored blocks of no bytes
    inflation, steps = Inflation(body, DEFLATE, 100), 0
    with pytest.raises(GRPCError, match="ends too early"):
        while not inflation.step():
            steps += 1
    assert steps == -(-len(body) // (64 * 1024))


async def test_large_messages_are_compressed_in_slices(autojump_clock: object) -> None:
    data = random.Random(4).randbytes(500) * 2000
    for codec in ALL:
        body = await compress(data, codec)
        assert isinstance(body, Compressed)
        assert inflate(bytes(body), codec) == data
    noise = random.Random(5).randbytes(200_000)
    assert await compress(noise, GZIP) is noise


# ---- settings --------------------------------------------------------------------------------


def test_settings() -> None:
    plain = Compression.of(None)
    assert plain.choose(plain.send) is None
    assert plain.accept[1].startswith(b"identity,deflate,gzip")
    assert Compression.of("gzip") == Compression("gzip")
    mine = Compression("bzip2", (BZIP2, gzip_codec(1)))
    assert Compression.of(mine) is mine
    assert mine.accept == (b"grpc-accept-encoding", b"identity,bzip2,gzip")
    assert mine.choose("bzip2") is BZIP2
    assert mine.find(b"deflate") is None
    for make in (lambda: mine.choose("deflate"), lambda: Compression("brotli")):
        with pytest.raises(ValueError, match="is not known here: identity, "):
            make()
    with pytest.raises(ValueError, match="twice"):
        Compression(codecs=(GZIP, gzip_codec(1)))
    for name in ("", "GZIP", "a b", "identity", "a,b"):
        with pytest.raises(ValueError, match="not a name"):
            Codec(name, zlib.compressobj, bz2.BZ2Decompressor)


def test_what_a_server_agrees_to() -> None:
    ours = Compression("gzip")
    accept, encoding = b"grpc-accept-encoding", b"grpc-encoding"
    assert negotiate(ours, GZIP, {}) is None
    assert negotiate(ours, GZIP, {accept: b"identity, gzip"}) == (None, GZIP)
    assert negotiate(ours, GZIP, {accept: b"identity,gzipped"}) is None
    assert negotiate(ours, None, {encoding: b"deflate", accept: b"gzip"}) == (DEFLATE, None)
    assert negotiate(ours, None, {encoding: b"identity"}) is None
    with pytest.raises(ValueError, match=r"'\\u00e9' is not|'é' is not"):
        negotiate(ours, None, {encoding: b"\xe9"})
    assert accepted_by(b"gzip", GZIP)
    assert not accepted_by(b"", GZIP)


def test_without_a_library_for_zstd() -> None:
    code = (
        "import sys; sys.modules['backports.zstd'] = sys.modules['compression.zstd'] = None\n"
        "from trioraft.rpc.compression import CODECS, ZSTD\n"
        "print(ZSTD, [codec.name for codec in CODECS])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None ['deflate', 'gzip']"
