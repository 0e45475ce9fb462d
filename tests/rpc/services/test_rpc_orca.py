"""ORCA load reports: with a call's status, and as a stream."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_trio import EchoBase, EchoStub
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from trioraft.rpc import (
    Cardinality,
    Channel,
    GRPCError,
    Metadata,
    ReplyMetadata,
    Status,
    current_call,
)
from trioraft.rpc.orca import STREAM, TRAILER, LoadReport, load_of, report_load, watch_load
from trioraft.rpc.services import OrcaService
from trioraft.rpc.testing import open_test_channel

REPORT = LoadReport(
    cpu=1.25,
    memory=0.5,
    application=2.0,
    requests_per_second=1e4,
    errors_per_second=0.1,
    utilization={"disk": 1.0},
    request_cost={"rows": -3.0},
    metrics={"anything": 1e300},
)


class Loaded(EchoBase):
    """Reports its load, and has other trailing metadata around that."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        call = current_call()
        report_load(LoadReport(cpu=0.1))
        call.set_trailing_metadata({"before": "set"})
        report_load(REPORT)
        call.set_trailing_metadata({"after": "set"})
        if request.count:
            raise GRPCError(Status.ABORTED, "enough")
        return EchoReply(payload=request.payload)


@pytest.mark.parametrize("count", [0, 1])
async def test_a_report_goes_with_the_status(count: int) -> None:
    received = ReplyMetadata()
    async with open_test_channel([Loaded()]) as channel:
        try:
            await EchoStub(channel).Unary(EchoRequest(count=count), received=received)
        except GRPCError as error:
            assert (count, error.status) == (1, Status.ABORTED)  # noqa: PT017
    assert load_of(received.trailing) == REPORT
    assert received.trailing is not None
    assert [key for key in received.trailing if key != TRAILER] == ["after"]


def test_a_report_needs_a_call() -> None:
    with pytest.raises(RuntimeError, match="no handler"):
        report_load(REPORT)


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [(TRAILER, b"\xff\xff")],
        [(TRAILER, REPORT.encode())] * 2,
        [(TRAILER, b"\x11" + bytes.fromhex("0000000000000840"))],  # memory: 3.0
        [(TRAILER, b"\x09" + bytes.fromhex("000000000000f87f"))],  # cpu: NaN
    ],
    ids=["none", "not a message", "two", "out of range", "not a number"],
)
def test_what_is_no_report_counts_as_none(pairs: list[tuple[str, str | bytes]]) -> None:
    metadata: Metadata = MultiDict(pairs)
    assert load_of(metadata) is None
    assert load_of(None) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"cpu": -0.1},
        {"cpu": float("nan")},
        {"application": float("inf")},
        {"memory": 1.01},
        {"requests_per_second": -1},
        {"errors_per_second": -1},
        {"utilization": {"disk": 1.5}},
    ],
)
def test_values_out_of_their_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"a load report's \w+"):
        LoadReport(**fields)


def test_the_deprecated_field_counts_for_want_of_its_successor() -> None:
    assert LoadReport.decode(b"\x18\x07").requests_per_second == 7.0


_SHARES = st.floats(0, 1)
_AMOUNTS = st.floats(0, 1e300)
_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(
    st.builds(
        LoadReport,
        cpu=_AMOUNTS,
        memory=_SHARES,
        application=_AMOUNTS,
        requests_per_second=_AMOUNTS,
        errors_per_second=_AMOUNTS,
        utilization=st.dictionaries(_NAMES, _SHARES, max_size=3),
        request_cost=st.dictionaries(_NAMES, st.floats(allow_nan=False), max_size=3),
        metrics=st.dictionaries(_NAMES, st.floats(allow_nan=False), max_size=3),
    )
)
def test_reports_survive_the_wire(report: LoadReport) -> None:
    assert LoadReport.decode(report.encode()) == report


@given(st.binary(max_size=40))
def test_any_bytes_are_a_report_or_a_value_error(data: bytes) -> None:
    try:
        LoadReport.decode(data)
    except ValueError as error:
        assert "load report" in str(error)  # noqa: PT017


# ---- the stream --------------------------------------------------------------------------------


async def test_the_stream_reports_now_and_each_interval(autojump_clock: object) -> None:
    cpu = 0.0

    def load() -> LoadReport:
        nonlocal cpu
        cpu += 1
        return LoadReport(cpu=cpu, request_cost={"rows": 1})

    async with open_test_channel([OrcaService(load, min_interval=5)]) as channel:
        began = trio.current_time()
        came = []
        async with watch_load(channel, interval=7) as loads:
            async for report in loads:
                came.append((trio.current_time() - began, report.cpu, dict(report.request_cost)))
                if len(came) == 3:
                    break
        assert came == [(pytest.approx(7 * n, abs=0.01), n + 1, {}) for n in range(3)]


@pytest.mark.parametrize("interval", [0.001, None])
async def test_the_server_bounds_the_interval(
    interval: float | None, autojump_clock: object
) -> None:
    async with open_test_channel([OrcaService(LoadReport, min_interval=5)]) as channel:
        began = trio.current_time()
        if interval is not None:
            async with watch_load(channel, interval=interval) as loads:
                await loads.receive()
                await loads.receive()
        else:
            await two_reports(channel)
        assert trio.current_time() - began == pytest.approx(5, abs=0.01)


async def two_reports(channel: Channel) -> None:
    """Of a request that says nothing."""
    kinds: Any = RawBytes
    async with channel.request(STREAM, Cardinality.UNARY_STREAM, kinds, kinds) as stream:
        await stream.send_message(RawBytes(), end=True)
        assert await stream.recv_message() == b""
        assert await stream.recv_message() == b""
        await stream.cancel()


class RawBytes:
    """A message of no bytes; received ones are left as they are."""

    FromString = staticmethod(bytes)

    def SerializeToString(self) -> bytes:
        return b""


async def test_streams_are_bounded() -> None:
    service = OrcaService(LoadReport, max_streams=1)
    async with open_test_channel([service]) as channel, watch_load(channel) as first:
        await first.receive()
        with pytest.raises(GRPCError) as caught:
            async with watch_load(channel) as second:
                await second.receive()
        assert caught.value.status is Status.RESOURCE_EXHAUSTED
        await first.aclose()
        while service._streams:
            await trio.sleep(0.001)
        async with watch_load(channel) as third:
            assert await third.receive() == LoadReport()


async def test_a_server_without_the_service() -> None:
    async with open_test_channel([Loaded()]) as channel:
        with pytest.raises(GRPCError) as caught:
            async with watch_load(channel) as loads:
                await loads.receive()
        assert caught.value.status is Status.UNIMPLEMENTED


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
async def test_intervals_are_checked(interval: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        OrcaService(LoadReport, min_interval=min(interval, 0))
    async with open_test_channel([Loaded()]) as channel:
        with pytest.raises(ValueError, match="interval"):
            watch_load(channel, interval=interval)
