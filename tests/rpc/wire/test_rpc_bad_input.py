"""Clients that break the rules: each gets a clear answer, is logged once, bothers nobody else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import CHAT, UNARY, Echo, serving
from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    GoAwayReceived,
    ResponseReceived,
    Role,
    StreamReset,
    TrailersReceived,
)
from raw_exchange import PREFACE, assert_alive, exchange

from trioraft.rpc import (
    Cardinality,
    Compression,
    Encoded,
    GRPCError,
    Limits,
    Status,
    open_channel,
)

HURRIED = Limits(handshake_timeout=0.1)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 100,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        PREFACE[:10] + b"garbage garbage garbage",
        PREFACE + b"\xff" * 200,
        PREFACE + bytes.fromhex("000001040000000000ff"),  # SETTINGS of a wrong length
        PREFACE + bytes.fromhex("000004080000000000 00000000"),  # before SETTINGS
    ],
    ids=["zeros", "ssh", "half a preface", "bad frames", "bad settings", "no settings"],
)
async def test_garbage_ends_its_connection_only(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving([Echo()], limits=HURRIED) as address:
        with trio.fail_after(10):
            await exchange(address, data)
        await assert_alive(address)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1


async def test_http1_is_told_what_port_this_is(caplog: pytest.LogCaptureFixture) -> None:
    async with serving([Echo()]) as address:
        with trio.fail_after(10):
            answer = await exchange(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 505 ")
        assert b"gRPC" in answer
        await assert_alive(address)
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


@pytest.mark.parametrize("data", [b"", PREFACE, PREFACE[:5]], ids=["nothing", "preface", "half"])
async def test_a_silent_connection_is_closed(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving([Echo()], limits=HURRIED) as address:
        with trio.fail_after(10):
            await exchange(address, data)
        await assert_alive(address)
    assert "no HTTP/2 from the peer within 0.1 s" in caplog.text


async def test_an_idle_connection_is_kept() -> None:
    async with serving([Echo()], limits=HURRIED) as address, open_channel(address) as channel:
        await EchoStub(channel).Unary(EchoRequest())
        connection = channel.connector.current
        await trio.sleep(0.3)
        await EchoStub(channel).Unary(EchoRequest())
        assert channel.connector.current is connection


# ---- requests that are HTTP/2 but not good gRPC --------------------------------------------------


GOOD = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": UNARY.encode(),
    b":authority": b"x",
    b"content-type": b"application/grpc",
    b"te": b"trailers",
}


class Raw:
    """A bare HTTP/2 client: one request, everything that comes back."""

    def __init__(self) -> None:
        self.engine = Connection(Role.CLIENT, Configuration())
        self.engine.initiate_connection({})
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.reset: int | None = None
        self.goaway: int | None = None

    async def request(
        self, address: str, headers: list[tuple[bytes, bytes]], body: bytes = b"", end: bool = True
    ) -> None:
        host, port = address.split(":")
        fields = list({**GOOD, **dict(headers)}.items())
        stream_id = self.engine.send_request([pair for pair in fields if pair[1] != b"-"])
        self.engine.send_data(stream_id, body, end_stream=end)
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            while not self._over:
                await stream.send_all(self.engine.data_to_send())
                data = await stream.receive_some(65536)
                if not data:
                    return
                self.engine.receive_data(data)
                for event in self.engine.events():
                    self._note(event)

    @property
    def _over(self) -> bool:
        return b"grpc-status" in self.headers or self.reset is not None or self._refused

    @property
    def _refused(self) -> bool:
        return self.headers.get(b":status", b"200") != b"200"

    def _note(self, event: Any) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self.headers.update(event.headers)
        elif isinstance(event, DataReceived):
            self.body += event.data
        elif isinstance(event, StreamReset):
            self.reset = event.error_code
        elif isinstance(event, GoAwayReceived):
            self.goaway = event.error_code


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b":method", b"GET")], {b":status": b"405"}),
        ([(b"content-type", b"text/html")], {b":status": b"415"}),
        ([(b"content-type", b"application/grpc-web")], {b":status": b"415"}),
        ([(b"content-type", b"-")], {b":status": b"415"}),
        ([(b":path", b"/no.Such/Method")], {b"grpc-status": b"12"}),
        ([(b":path", b"/\xc3\xa4")], {b"grpc-status": b"12"}),
        ([(b"grpc-timeout", b"soon")], {b"grpc-status": b"13"}),
        (
            [(b"grpc-encoding", b"brotli")],
            {
                b"grpc-status": b"12",
                b"grpc-accept-encoding": Compression().accept[1],
                b"grpc-message": b"grpc-encoding 'brotli' is not supported here: "
                + Compression().known.encode()
                + b" are",
            },
        ),
        ([(b"grpc-encoding", b"identity")], {b"grpc-status": b"0"}),
        ([(b"content-type", b"application/grpc+proto")], {b"grpc-status": b"0"}),
        ([(b"content-type", b"application/grpc; charset=utf-8")], {b"grpc-status": b"0"}),
        ([(b"te", b"-")], {b"grpc-status": b"0"}),
        ([(b"broken-bin", b"!!!")], {b"grpc-status": b"0"}),
    ],
)
@pytest.mark.parametrize("end", [True, False], ids=["ended", "open"])
async def test_request_headers(
    headers: list[tuple[bytes, bytes]], expected: dict[bytes, bytes], end: bool
) -> None:
    raw = Raw()
    async with serving([Echo()]) as address:
        with trio.fail_after(10):
            await raw.request(address, headers, b"\0\0\0\0\0", end)
        assert expected.items() <= raw.headers.items()
        await assert_alive(address)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\1\0\0\0\1x", b"13"),  # compressed, with no encoding named
        (b"\7\0\0\0\1x", b"13"),  # an invalid flag
        (b"\0\0\0\0\x02\xff\xff", b"13"),  # not protobuf
        (b"\0\0\0", b"13"),  # cut inside the prefix
        (b"\0\0\0\0\x09abc", b"13"),  # cut inside the message
        (b"", b"13"),  # no message at all
        (b"\0\xff\xff\xff\xff", b"8"),  # 4 GiB
    ],
    ids=["compressed", "flag", "protobuf", "prefix", "body", "nothing", "huge"],
)
async def test_request_bodies(body: bytes, status: bytes) -> None:
    raw = Raw()
    async with serving([Echo()]) as address:
        with trio.fail_after(10):
            await raw.request(address, [], body)
        assert raw.headers[b"grpc-status"] == status
        await assert_alive(address)


async def test_a_request_that_never_ends_meets_its_deadline() -> None:
    raw = Raw()
    async with serving([Echo()]) as address:
        with trio.fail_after(10):
            await raw.request(address, [(b"grpc-timeout", b"50m")], b"\0\0\0\0\x09abc", end=False)
        assert raw.headers[b"grpc-status"] == b"4"


async def test_rapid_resets_end_the_connection() -> None:
    """CVE-2023-44487: streams opened and reset at once, faster than the budget refills."""
    engine = Connection(Role.CLIENT, Configuration(peer_max_concurrent_streams=1000))
    engine.initiate_connection({})
    fields = list({**GOOD, b":path": CHAT.encode()}.items())
    opened = 0
    async with serving([Echo()], limits=Limits(reset_burst=50, reset_rate=1)) as address:
        host, port = address.split(":")
        stream = await trio.open_tcp_stream(host, int(port))
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            while True:
                stream_id = engine.send_request(fields)
                await stream.send_all(engine.data_to_send())
                engine.reset_stream(stream_id)
                await stream.send_all(engine.data_to_send())
                opened += 1
                await trio.sleep(0.001)
        await stream.aclose()
        assert 50 <= opened <= 500
        await assert_alive(address)


async def test_a_malformed_message_in_a_stream_names_its_type() -> None:
    async with serving([Echo()]) as address, open_channel(address) as channel:
        async with channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, Encoded) as stream:
            await stream.send_message(Encoded(b""))
            assert await stream.recv_message() == b""
            await stream.send_message(Encoded(b"\xff\xff\xff"))
            with pytest.raises(GRPCError, match="cannot decode EchoRequest") as caught:
                await stream.recv_message()
            assert caught.value.status is Status.INTERNAL
            await stream.cancel()
