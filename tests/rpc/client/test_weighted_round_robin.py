"""weighted_round_robin at work: servers report their load with each call."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply
from echo_service import One
from fleet import Directory, Fleet, ask, asks, fleet_of

from trioraft.rpc import (
    Channel,
    GRPCError,
    Limits,
    RoundRobin,
    Status,
    WeightedRoundRobin,
    open_channel,
    serve,
)
from trioraft.rpc.client.balancing.reports import LoadTrailers
from trioraft.rpc.client.balancing.weights import Weight
from trioraft.rpc.metadata import encode_binary
from trioraft.rpc.orca import TRAILER, LoadReport, report_load
from trioraft.testing.scheduler import SeededRun, run_seeded


def at(cpu: float, **more: Any) -> LoadReport:
    return LoadReport(cpu=cpu, requests_per_second=100, **more)


LOADS = {"a": at(0.2), "b": at(0.4), "c": at(0.8)}  # 4 : 2 : 1


@asynccontextmanager
async def weighing(
    names: str = "a b c", **options: Any
) -> AsyncIterator[tuple[Fleet, Directory, Channel]]:
    """A fleet, and a channel with a connection to each."""
    options.setdefault("balancing", "weighted_round_robin")
    options.setdefault("rng", random.Random(1))
    directory = Directory(names)
    async with (
        fleet_of(names) as fleet,
        open_channel("fleet", dial_address=fleet.dial, resolver=directory, **options) as channel,
    ):
        fleet.loads.update(LOADS)
        channel.connect()
        await trio.sleep(0.001)
        yield fleet, directory, channel


async def steady(channel: Channel, seconds: float) -> Counter[str]:
    """Ten calls a second for so long; who has answered."""
    seen: Counter[str] = Counter()
    until = trio.current_time() + seconds - 0.05
    while trio.current_time() < until:
        seen[await ask(channel)] += 1
        await trio.sleep(0.1)
    return seen


def near(**expected: int) -> Any:
    return pytest.approx(expected, abs=3)


async def test_calls_go_where_there_is_least_load(autojump_clock: object) -> None:
    async with weighing() as (fleet, _, channel):
        assert await steady(channel, 9) == near(a=30, b=30, c=30)  # the blackout
        await steady(channel, 3)
        assert await steady(channel, 70) == near(a=400, b=200, c=100)
        fleet.loads["a"] = at(0.8)
        await steady(channel, 2)
        assert await steady(channel, 50) == near(a=125, b=250, c=125)


async def test_without_reports_it_is_round_robin(autojump_clock: object) -> None:
    async with weighing() as (fleet, _, channel):
        fleet.loads.clear()
        await steady(channel, 12)
        answers = await asks(channel, 9)
        assert answers[:3] == answers[3:6] == answers[6:]
        fleet.loads["a"] = at(0.01)  # alone in reporting
        await steady(channel, 12)
        assert await steady(channel, 9) == near(a=30, b=30, c=30)


async def test_who_does_not_report_gets_the_mean(autojump_clock: object) -> None:
    async with weighing() as (fleet, _, channel):
        del fleet.loads["b"]
        await steady(channel, 12)
        assert await steady(channel, 75) == near(a=400, b=250, c=100)


async def test_who_stops_reporting_is_forgotten_in_time(autojump_clock: object) -> None:
    policy = WeightedRoundRobin(weight_expiration_period=30)
    async with weighing(balancing=policy) as (fleet, _, channel):
        await steady(channel, 12)
        del fleet.loads["c"]
        assert await steady(channel, 28) == near(a=160, b=80, c=40)
        await steady(channel, 3)
        assert await steady(channel, 90) == near(a=400, b=200, c=300)
        fleet.loads["c"] = LOADS["c"]
        assert await steady(channel, 9) == near(a=40, b=20, c=30)  # in a blackout again
        await steady(channel, 2)
        assert await steady(channel, 70) == near(a=400, b=200, c=100)


async def test_errors_count_as_load(autojump_clock: object) -> None:
    policy = WeightedRoundRobin(blackout_period=0)
    async with weighing("a b", balancing=policy) as (fleet, _, channel):
        fleet.loads = {"a": at(0.2), "b": at(0.2, errors_per_second=20)}
        await steady(channel, 2)
        assert await steady(channel, 30) == near(a=200, b=100)


async def test_a_new_connection_begins_with_a_blackout(autojump_clock: object) -> None:
    async with weighing() as (fleet, _, channel):
        await steady(channel, 12)
        await fleet.disconnect("c")
        assert await steady(channel, 9) == near(a=40, b=20, c=30)  # the mean for c
        await steady(channel, 3)
        assert await steady(channel, 70) == near(a=400, b=200, c=100)


async def test_addresses_come_and_go(autojump_clock: object) -> None:
    async with weighing("a b c") as (fleet, directory, channel):
        await steady(channel, 12)
        directory.found("b c")
        await trio.sleep(0.001)
        assert await steady(channel, 30) == near(b=200, c=100)
        directory.found("c")
        assert set(await asks(channel, 3)) == {"c"}
        directory.found("a b c")
        await trio.sleep(0.001)
        assert await steady(channel, 9) == near(a=30, b=30, c=30)  # a and b are new
        assert sorted(name for _, name in fleet.dialled) == ["a", "a", "b", "b", "c"]


async def test_a_full_connection_loses_its_turn(autojump_clock: object) -> None:
    async with weighing(
        balancing=WeightedRoundRobin(blackout_period=0), limits=Limits(max_concurrent_streams=6)
    ) as (fleet, _, channel):
        await steady(channel, 2)
        fleet.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(18):
                nursery.start_soon(ask, channel)
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.running == {"a": 6, "b": 6, "c": 6}
            fleet.gate.set()


async def test_other_settings_keep_the_connections(autojump_clock: object) -> None:
    async with weighing() as (fleet, directory, channel):
        await steady(channel, 5)
        options = {"blackoutPeriod": "0s"}
        config = {"loadBalancingConfig": [{"weighted_round_robin": options}]}
        directory.found("a b c", config)
        await asks(channel, 1)
        assert await steady(channel, 70) == near(a=400, b=200, c=100)
        assert len(fleet.dialled) == 3
        directory.found("a b c", {"loadBalancingConfig": [{"round_robin": {}}]})
        await trio.sleep(0.001)
        assert await steady(channel, 9) == near(a=30, b=30, c=30)
        assert len(fleet.dialled) == 6


def test_everything_follows_from_the_seed() -> None:
    async def run(seeded: SeededRun) -> list[str]:
        async with weighing(rng=random.Random(seeded.seed)) as (_, _, channel):
            await steady(channel, 12)
            return list(await asks(channel, 40))

    assert run_seeded(run, 1) == run_seeded(run, 1)
    assert run_seeded(run, 1) != run_seeded(run, 2)


async def test_only_this_policy_looks_at_trailers(autojump_clock: object) -> None:
    looks = {}
    for policy in (RoundRobin(), WeightedRoundRobin()):
        async with weighing(balancing=policy) as (_, _, channel):
            connector = channel.connector
            handlers = connector._shared.live[0]._handlers.values()
            looks[policy] = "watch_trailers" in " ".join(item.__qualname__ for item in handlers)
            assert (connector._choose == connector._in_turn) is (policy == RoundRobin())
    assert looks == {RoundRobin(): False, WeightedRoundRobin(): True}


# ---- over the system's network -----------------------------------------------------------------


async def test_three_servers_on_sockets() -> None:
    """Reports of calls that succeed and of calls that fail, which have trailers only."""
    seen: Counter[float] = Counter()
    failed: Counter[Status] = Counter()

    def service(cpu: float) -> One:
        async def answer(stream: Any) -> None:
            await stream.recv_message()
            seen[cpu] += 1
            report_load(at(cpu), stream)
            if seen[cpu] % 2:
                raise GRPCError(Status.ABORTED, "every other call")
            await stream.send_message(EchoReply(payload=b"done"))

        return One(answer)

    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        ports = []
        for cpu in (0.2, 0.4, 0.8):
            [[_, port, *_]] = await nursery.start(partial(serve, [service(cpu)], port=0))
            ports.append(port)
        target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        policy = WeightedRoundRobin(blackout_period=0, weight_update_period=0.1)
        channel = await stack.enter_async_context(open_channel(target, balancing=policy))

        async def calls(count: int) -> None:
            for _ in range(count):
                try:
                    await ask(channel)
                except GRPCError as error:
                    failed[error.status] += 1

        while len(seen) < 3 or min(seen.values()) < 4:
            await calls(1)
        await trio.sleep(0.15)
        await calls(1)  # looks at the clock
        seen.clear()
        await calls(70)
        assert seen == pytest.approx({0.2: 40, 0.4: 20, 0.8: 10}, abs=2)
        assert set(failed) == {Status.ABORTED}


# ---- reports -----------------------------------------------------------------------------------

GOOD = (TRAILER.encode(), encode_binary(at(0.5).encode()))
BETTER = (TRAILER.encode(), encode_binary(at(0.25).encode()))
STATUS = (b"grpc-status", b"0")


def test_reports_in_trailers() -> None:
    trailers = LoadTrailers()
    assert trailers.load_in((STATUS,)) is None
    first = trailers.load_in((STATUS, GOOD))
    assert first == at(0.5)
    assert trailers.load_in((GOOD, STATUS)) is first  # the same bytes are not decoded again
    assert trailers.load_in((BETTER,)) == at(0.25)
    assert trailers.load_in((GOOD, BETTER)) is None
    assert trailers.load_in((STATUS, GOOD)) == at(0.5)


@pytest.mark.parametrize(
    "value", [b"", b"!", b"AA,AA", encode_binary(b"\xff"), encode_binary(b"\x09" + b"\xff" * 8)]
)
def test_what_is_no_report_counts_as_none(value: bytes) -> None:
    """Not base64, several in one, not protobuf, NaN for the processors; empty says nothing."""
    weight = Weight(WeightedRoundRobin(blackout_period=0))
    weight.report(at(0.5), 0.0)
    load = LoadTrailers().load_in(((TRAILER.encode(), value),))
    if load is not None:
        assert load == LoadReport()
        weight.report(load, 1.0)
    assert weight.at(1.0) == 200


# ---- settings ----------------------------------------------------------------------------------


def test_a_config_has_all_of_them() -> None:
    config = {
        "enableOobLoadReport": True,
        "oobReportingPeriod": "5s",
        "blackoutPeriod": "0s",
        "weightExpirationPeriod": "90s",
        "weightUpdatePeriod": "0.5s",
        "errorUtilizationPenalty": 0,
    }
    assert WeightedRoundRobin.from_config(config) == WeightedRoundRobin(
        enable_oob_load_report=True,
        oob_reporting_period=5,
        blackout_period=0,
        weight_expiration_period=90,
        weight_update_period=0.5,
        error_utilization_penalty=0,
    )


@pytest.mark.parametrize("period", ["0s", "0.01s", "0.1s"])
def test_a_shorter_update_period_is_the_shortest(period: str) -> None:
    policy = WeightedRoundRobin.from_config({"weightUpdatePeriod": period})
    assert policy == WeightedRoundRobin(weight_update_period=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enableOobLoadReport", "yes"),
        ("oobReportingPeriod", "0s"),
        ("oobReportingPeriod", "often"),
        ("blackoutPeriod", 10),
        ("blackoutPeriod", "10"),
        ("blackoutPeriod", "-1s"),
        ("weightExpirationPeriod", "soon"),
        ("weightUpdatePeriod", "-1s"),
        ("errorUtilizationPenalty", -0.5),
        ("errorUtilizationPenalty", float("nan")),
        ("errorUtilizationPenalty", "1"),
        ("errorUtilizationPenalty", True),
    ],
)
def test_bad_fields_are_named(field: str, value: Any) -> None:
    config = {"loadBalancingConfig": [{"weighted_round_robin": {field: value}}]}
    with pytest.raises(
        ValueError, match=f"weighted_round_robin.{field} must be .*: not "
    ) as caught:
        open_channel("127.0.0.1:1", service_config=config)
    assert repr(value) in str(caught.value)


def test_fields_of_tomorrow_are_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert WeightedRoundRobin.from_config({"slowStart": {}}) == WeightedRoundRobin()
    assert "weighted_round_robin.slowStart is not known here" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"blackout_period": -1},
        {"weight_expiration_period": float("inf")},
        {"weight_update_period": 0.05},
        {"oob_reporting_period": 0},
        {"oob_reporting_period": float("nan")},
        {"error_utilization_penalty": float("nan")},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"weighted_round_robin: {next(iter(wrong))} is "):
        WeightedRoundRobin(**wrong)
