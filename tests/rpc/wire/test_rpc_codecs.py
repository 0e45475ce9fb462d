"""The codecs without I/O: metadata, timeouts, status messages, message framing."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioraft.rpc import GRPCError, Status
from trioraft.rpc.metadata import (
    decode_binary,
    decode_metadata,
    encode_binary,
    encode_metadata,
)
from trioraft.rpc.status import (
    decode_message,
    encode_message,
    read_status,
    status_from_http,
    status_from_reset,
    status_headers,
)
from trioraft.rpc.timeout import decode_timeout, encode_timeout
from trioraft.rpc.wire.framing import Deframer, pack_prefix

KEYS = st.from_regex(r"[a-z0-9_.\-]{1,12}", fullmatch=True).filter(
    lambda key: (
        not key.startswith("grpc-")
        and not key.endswith("-bin")
        and key not in {"te", "content-type", "user-agent", "host", "connection"}
    )
)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(str.strip)


# ---- metadata ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(KEYS, TEXTS),
            st.tuples(KEYS.map(lambda key: key + "-bin"), st.binary()),
        )
    )
)
def test_metadata_survives_the_wire(pairs: list[tuple[str, str | bytes]]) -> None:
    assert list(decode_metadata(encode_metadata(pairs)).items()) == pairs


@settings(deadline=None)
@given(st.binary())
def test_binary_values_have_no_padding_but_may_come_with_it(value: bytes) -> None:
    encoded = encode_binary(value)
    assert b"=" not in encoded
    assert decode_binary(encoded) == value
    assert decode_binary(encoded + b"=" * (-len(encoded) % 4)) == value


def test_joined_binary_values_are_split() -> None:
    joined = encode_binary(b"one") + b"," + encode_binary(b"two") + b", " + b"dGhyZWU="
    assert decode_metadata([(b"k-bin", joined)]).getall("k-bin") == [b"one", b"two", b"three"]


def test_protocol_fields_are_not_metadata() -> None:
    headers = [
        (b":path", b"/x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"u"),
        (b"grpc-status", b"0"),
        (b"grpc-status-details-bin", b"AAE"),
        (b"mine", b"v"),
        (b"broken-bin", b"!"),
    ]
    assert list(decode_metadata(headers).items()) == [
        ("grpc-status-details-bin", b"\0\1"),
        ("mine", "v"),
    ]


@pytest.mark.parametrize(
    "key", ["grpc-timeout", "te", "content-type", "user-agent", "Upper", "sp ace", "", ":path"]
)
def test_reserved_and_invalid_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="metadata key"):
        encode_metadata({key: "v"})


@pytest.mark.parametrize("value", ["line\nbreak", "é", " leading", "trailing "])
def test_values_that_cannot_travel_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        encode_metadata({"k": value})


def test_value_types_follow_the_key() -> None:
    with pytest.raises(TypeError, match="takes bytes"):
        encode_metadata({"k-bin": "text"})
    with pytest.raises(TypeError, match="takes str"):
        encode_metadata({"k": b"bytes"})


# ---- timeouts ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0, 1e11))
def test_timeouts_round_up_and_stay_close(seconds: float) -> None:
    encoded = encode_timeout(seconds)
    assert len(encoded) <= 9
    decoded = decode_timeout(encoded)
    assert seconds - 1e-9 <= decoded <= seconds * 1.0001 + 1e-8


@pytest.mark.parametrize(
    ("seconds", "encoded"),
    [
        (0, b"0n"),
        (-1, b"0n"),
        (-math.inf, b"0n"),
        (math.inf, b"99999999H"),
        (1e-9, b"1n"),
        (0.05, b"50000000n"),
        (1, b"1000000u"),
    ],
)
def test_timeout_examples(seconds: float, encoded: bytes) -> None:
    assert encode_timeout(seconds) == encoded


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"4S", 4), (b"5m", 0.005), (b"6u", 6e-6), (b"7n", 7e-9)],
)
def test_timeout_units(value: bytes, seconds: float) -> None:
    assert decode_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"S", b"1", b"1x", b"-1S", b"1.5S", b"123456789S", b"1 S"])
def test_bad_timeouts(value: bytes) -> None:
    with pytest.raises(ValueError, match="invalid grpc-timeout"):
        decode_timeout(value)


# ---- status --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text())
def test_status_messages_survive_the_wire(message: str) -> None:
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded) == message.encode("utf-8", "surrogatepass").decode(
        "utf-8", "replace"
    )


def test_status_message_examples() -> None:
    assert encode_message("\t\r\n é%") == b"%09%0D%0A %C3%A9%25"
    # A header value neither begins nor ends with a space (RFC 9113 §8.2.1).
    assert encode_message("  a b ") == b"%20%20a b%20"
    assert encode_message(" ") == b"%20"
    assert decode_message(b"100%, %zz %ff") == "100%, %zz \N{REPLACEMENT CHARACTER}"


def test_read_status() -> None:
    assert read_status([(b"grpc-status", b"0")]) is Status.OK
    error = read_status(status_headers(Status.NOT_FOUND, "no ä", b"\1\2", limit=100))
    assert isinstance(error, GRPCError)
    assert (error.status, error.message, error.details) == (Status.NOT_FOUND, "no ä", b"\1\2")
    for headers in ([], [(b"grpc-status", b"99")], [(b"grpc-status", b"x")]):
        error = read_status(headers)
        assert isinstance(error, GRPCError)
        assert error.status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (b"400", Status.INTERNAL),
        (b"401", Status.UNAUTHENTICATED),
        (b"403", Status.PERMISSION_DENIED),
        (b"404", Status.UNIMPLEMENTED),
        (b"429", Status.UNAVAILABLE),
        (b"502", Status.UNAVAILABLE),
        (b"503", Status.UNAVAILABLE),
        (b"504", Status.UNAVAILABLE),
        (b"500", Status.UNKNOWN),
        (b"", Status.UNKNOWN),
    ],
)
def test_http_statuses(code: bytes, status: Status) -> None:
    assert status_from_http(code).status is status


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, "INTERNAL"), (7, "UNAVAILABLE"), (8, "CANCELLED"), (11, "RESOURCE_EXHAUSTED")],
)
def test_reset_codes(code: int, status: str) -> None:
    assert status_from_reset(code).status is Status[status]
    assert status_from_reset(0xBEEF).status is Status.INTERNAL


# ---- framing -------------------------------------------------------------------------------------


def frame(message: bytes, flag: int = 0) -> bytes:
    return pack_prefix(flag, len(message)) + message


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_messages_come_out_whatever_the_split(messages: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(map(frame, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    out: deque[bytes] = deque()
    deframer = Deframer(limit=40)
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        deframer.feed(wire[start:end], out)
    assert list(out) == messages
    assert not deframer.incomplete


@settings(deadline=None)
@given(st.binary(max_size=20), st.data())
def test_a_message_cut_short_is_incomplete(message: bytes, data: st.DataObject) -> None:
    wire = frame(message)
    keep = data.draw(st.integers(1, len(wire) - 1))
    deframer = Deframer(limit=20)
    out: deque[bytes] = deque()
    deframer.feed(wire[:keep], out)
    assert deframer.incomplete
    assert not out


def test_the_limit_is_checked_before_the_body_comes() -> None:
    out: deque[bytes] = deque()
    with pytest.raises(GRPCError) as caught:
        Deframer(limit=10).feed(frame(b"ok") + pack_prefix(0, 11), out)
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    assert list(out) == [b"ok"]


@pytest.mark.parametrize(("flag", "problem"), [(1, "no grpc-encoding"), (2, "invalid flag")])
def test_flags_other_than_zero_are_refused(flag: int, problem: str) -> None:
    with pytest.raises(GRPCError, match=problem) as caught:
        Deframer(limit=10).feed(frame(b"x", flag), deque())
    assert caught.value.status is Status.INTERNAL
