"""The bounds that the attacks are met with, each on its own."""

from __future__ import annotations

import gc
import tracemalloc
from collections import deque
from typing import Any

import pytest
import trio
import trio.lowlevel
from _attacker import attacking
from _frames import (
    CHAT,
    UNARY,
    Kind,
    data,
    frame,
    headers,
    prefixed,
    request,
    request_fields,
    settings,
    window_update,
)
from echo_grpc import EchoStub
from echo_pb2 import EchoRequest
from echo_service import Echo, running, serving
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from trioraft.rpc import Limits
from trioraft.rpc.server.life.rules import ServerKeepalive
from trioraft.rpc.wire.budget import Budget
from trioraft.rpc.wire.connection import Connection
from trioraft.rpc.wire.framing import Deframer

PING = frame(Kind.PING, 0, b"12345678")


def test_a_budget_is_a_burst_and_a_rate() -> None:
    budget = Budget(3, 2)
    assert [budget.spend(10.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(10.5) for _ in range(2)] == [True, False]
    assert [budget.spend(99.0) for _ in range(4)] == [True, True, True, False]


@hypothesis_settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 20), st.lists(st.floats(0, 5), max_size=60))
def test_a_budget_never_lets_more_through(burst: int, rate: int, steps: list[float]) -> None:
    budget = Budget(burst, rate)
    now, granted = 100.0, 0
    for step in steps:
        now += step
        granted += budget.spend(now)
        assert granted <= burst + rate * (now - 100.0) + 1e-6


@pytest.mark.parametrize("one", [PING, settings()], ids=["ping", "settings"])
async def test_control_frames_draw_on_a_budget(one: bytes) -> None:
    # gRPC's own policy for pings is stricter, and asks for less.
    lenient = ServerKeepalive(min_interval=0, permit_without_calls=True)
    limits = Limits(control_burst=20, control_rate=1)
    async with serving([Echo()], limits=limits, keepalive=lenient) as address:
        async with attacking(address) as attacker:
            await attacker.greet()
            await attacker.send(one * 18)  # the first SETTINGS counts as well
            await attacker.settle()
            assert attacker.outcome() == "kept"
            await attacker.send(one * 3)
            await attacker.settle()
        assert attacker.outcome() == "GOAWAY ENHANCE_YOUR_CALM, closed"


async def test_pings_between_messages_are_free() -> None:
    """Peers that measure the bandwidth send one for every message or so."""
    async with serving([Echo()], limits=Limits(control_burst=5, control_rate=1)) as address:
        async with attacking(address) as attacker:
            await attacker.greet()
            await attacker.send(request(1, CHAT))
            for count in range(1, 100):
                await attacker.send(data(1, prefixed(b"")), PING)
                while attacker.frames[Kind.DATA] < count and not attacker.closed:
                    await trio.lowlevel.checkpoint()
        assert not attacker.closed


# ---- fairness ------------------------------------------------------------------------------------


async def test_reads_get_shorter_for_who_sends_much_that_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two reads everybody else has a turn: it must come soon."""
    counts: list[int] = []
    dispatch = Connection._dispatch

    def count(self: Connection) -> int:
        counts.append(dispatch(self))
        return counts[-1]

    async with serving([Echo()]) as address, attacking(address) as attacker:
        await attacker.greet()
        await attacker.settle()
        monkeypatch.setattr(Connection, "_dispatch", count)
        await attacker.send(window_update(0, 1) * 40_000)
        await attacker.settle()
        large = [number for number in counts if number > 100]
        assert sum(large) > 30_000
        assert max(large[2:]) < 1200
        assert sum(large) / len(large) < 600


# ---- the log ------------------------------------------------------------------------------------


async def test_the_log_does_not_fill_up_with_one_peers_mistakes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = [request_fields(b"/" + b"x" * 10_000), request_fields(UNARY, method=b"GET")]
    async with serving([Echo()]) as address, attacking(address) as attacker:
        await attacker.greet()
        for _ in range(50):
            await attacker.send(*(headers(attacker.next_id(), fields, end=True) for fields in bad))
        await attacker.settle()
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 21
    assert lines[-1].endswith("no more of its mistakes are logged")
    assert max(map(len, lines)) < 300


# ---- connections that are gone -------------------------------------------------------------------


async def test_connections_that_are_gone_leave_little_to_the_garbage_collector() -> None:
    """It counts objects, not bytes: what is large must not wait for it when many come and go."""
    count = 40

    async def come_and_go() -> None:
        async with attacking(address) as attacker:
            await attacker.greet()
            await attacker.send(request(1, UNARY), data(1, prefixed(b""), end=True))
            await attacker.until("status 0", 2.0)
        await trio.sleep(0.01)

    async with serving([Echo()]) as address:
        for _ in range(5):
            await come_and_go()
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(count):
                await come_and_go()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert held / count < 32 * 1024


# ---- incomplete messages -------------------------------------------------------------------------

MANY_CRUMBS = 100_000


def test_crumbs_are_kept_together() -> None:
    deframer = Deframer(10 * MANY_CRUMBS)
    out: deque[Any] = deque()
    deframer.feed(prefixed(b"", length=2 * MANY_CRUMBS), out)
    for _ in range(MANY_CRUMBS):
        deframer.feed(b"ab", out)
    assert len(out) == 1
    assert bytes(out[0]) == b"ab" * MANY_CRUMBS


@hypothesis_settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=20), st.integers(0, 5))
def test_messages_are_whole_whatever_the_size_of_their_pieces(sizes: list[int], more: int) -> None:
    body = b"".join(bytes([n % 251]) * size for n, size in enumerate(sizes))
    out: deque[Any] = deque()
    deframer = Deframer(len(body) + more)
    wire = prefixed(body) + prefixed(b"next")[:more]
    position = 0
    for size in [*sizes, 5 + more]:
        deframer.feed(wire[position : position + size], out)
        position += size
    assert [bytes(message) for message in out] == [body]
    assert deframer.incomplete == bool(more)


def test_dropping_forgets_what_is_incomplete() -> None:
    deframer = Deframer(100)
    deframer.feed(prefixed(b"abc", length=50), deque())
    deframer.drop()
    assert not deframer.incomplete


async def test_the_bytes_of_incomplete_messages_are_counted_back() -> None:
    """After calls that end in every way, nothing is held: a leak would refuse all calls one day."""
    size = 300_000
    tight = Limits(max_buffered=1, max_receive_message=size)
    async with running([Echo()], limits=tight, client=tight) as channel:
        stub = EchoStub(channel)
        for _ in range(10):
            reply = await stub.Unary(EchoRequest(payload=bytes(size - 100)))
            assert len(reply.payload) == size - 100
        async with stub.Chat.open() as stream:
            for _ in range(10):
                await stream.send_message(EchoRequest(payload=bytes(size - 100)))
                assert len((await stream.recv_message()).payload) == size - 100
            await stream.cancel()
        connection = channel.connector.current
        assert connection is not None
        assert connection.held == 0


async def test_resets_inside_messages_hold_nothing() -> None:
    size = 100_000
    async with serving(
        [Echo()], limits=Limits(max_buffered=1, max_receive_message=size)
    ) as address:
        async with attacking(address) as attacker:
            await attacker.greet()
            for _ in range(20):
                stream_id = attacker.next_id()
                await attacker.send(
                    request(stream_id, CHAT),
                    data(stream_id, prefixed(bytes(16_000), length=size)),
                    data(stream_id, bytes(16_000)) * 4,
                    frame(Kind.RST_STREAM, stream_id, bytes(4)),
                )
            await attacker.settle()
            assert attacker.outcome() == "kept"


async def test_what_is_beyond_the_bound_is_refused_and_the_rest_goes_on() -> None:
    size = 100_000
    limits = Limits(max_buffered=1, max_receive_message=size)  # two messages
    async with serving([Echo()], limits=limits) as address, attacking(address) as attacker:
        await attacker.greet()
        for stream_id in (1, 3, 5):
            await attacker.send(
                request(stream_id, CHAT),
                data(stream_id, prefixed(bytes(15_000), length=size)),
                data(stream_id, bytes(15_000)) * 5,
            )
        assert await attacker.until_told({"8": 1}, 20.0) == {"8": 1}
        # Those that were within it are served: a reply for each, here one that does not decode.
        for stream_id in (1, 3):
            await attacker.send(data(stream_id, bytes(10_000), end=True))
        served = {"8": 1, "13": 2}
        assert await attacker.until_told(served, 20.0) == served
