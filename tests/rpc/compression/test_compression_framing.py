"""Property tests: messages with and without the compressed flag, cut any way."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioraft.rpc import GRPCError, Status
from trioraft.rpc.compression import CODECS
from trioraft.rpc.compression.bounded import Inflation, compress_now
from trioraft.rpc.compression.codec import Codec
from trioraft.rpc.wire.framing import Body, Deframer, body_size, pack_prefix


def compressed(data: bytes, codec: Codec) -> bytes:
    deflater = codec.deflater()
    return deflater.compress(data) + deflater.flush()


def inflated(body: Body) -> bytes:
    if isinstance(body, Inflation):
        wire = len(body)
        while not body.step():
            pass
        assert len(body) == wire  # flow control counts what came
        assert body_size(body) == len(body.result())
        return body.result()
    return body


messages = st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8)


@given(messages=messages, codec=st.sampled_from(CODECS), seed=st.integers(0, 1 << 30))
def test_any_split_gives_the_same_messages(
    messages: list[tuple[bytes, bool]], codec: Codec, seed: int
) -> None:
    wire = b"".join(
        pack_prefix(flag, len(body)) + body
        for data, flag in messages
        for body in [compressed(data, codec) if flag else data]
    )
    rng, deframer, out = random.Random(seed), Deframer(1000), deque[Body]()
    deframer.expect(codec)
    position = 0
    while position < len(wire):
        size = rng.choice((1, 2, 5, 30, 400))
        deframer.feed(wire[position : position + size], out)
        position += size
    assert not deframer.incomplete
    assert [isinstance(body, Inflation) for body in out] == [flag for _, flag in messages]
    assert [inflated(body) for body in out] == [data for data, _ in messages]


@given(data=st.binary(max_size=500), codec=st.sampled_from(CODECS))
def test_bytes_from_anywhere_are_messages_or_a_clear_end(data: bytes, codec: Codec) -> None:
    deframer, out = Deframer(100), deque[Body]()
    deframer.expect(codec)
    try:
        deframer.feed(data, out)
        for body in out:
            assert len(inflated(body)) <= 100
    except GRPCError as error:
        problem = error
    else:
        return
    assert problem.status in (Status.INTERNAL, Status.RESOURCE_EXHAUSTED)
    assert problem.message


@given(flag=st.integers(1, 255), size=st.integers(0, (1 << 32) - 1))
def test_flags_without_an_encoding(flag: int, size: int) -> None:
    prefix = bytes([flag]) + size.to_bytes(4, "big")
    with pytest.raises(GRPCError) as caught:
        Deframer(100).feed(prefix, deque())
    assert caught.value.status is Status.INTERNAL
    assert "flag" in (caught.value.message or "")


def test_the_wire_limit_holds_for_compressed_bodies_before_they_come() -> None:
    deframer = Deframer(10)
    deframer.expect(CODECS[0])
    with pytest.raises(GRPCError, match="11 bytes, over the limit of 10") as caught:
        deframer.feed(pack_prefix(1, 11), deque())
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


def test_nothing_is_inflated_before_it_is_taken() -> None:
    body = compress_now(bytes(1 << 20), CODECS[0])
    deframer, out = Deframer(1 << 20), deque[Body]()
    deframer.expect(CODECS[0])
    deframer.feed(pack_prefix(1, len(body)) + body, out)
    assert body_size(out[0]) == 0
