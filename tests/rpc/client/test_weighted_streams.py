"""weighted_round_robin by streams of load reports, one per address."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from fleet import Directory, Fleet, ask, asks

from trioraft.rpc import Channel, Limits, WeightedRoundRobin, open_channel
from trioraft.rpc.client.balancing.reports import LoadWatch
from trioraft.rpc.orca import LoadReport
from trioraft.rpc.services import HealthService, ServingStatus

OOB = WeightedRoundRobin(enable_oob_load_report=True, oob_reporting_period=2, blackout_period=3)


def at(cpu: float) -> LoadReport:
    return LoadReport(cpu=cpu, requests_per_second=100)


LOADS = {"a": at(0.2), "b": at(0.4), "c": at(0.8)}  # 4 : 2 : 1


@asynccontextmanager
async def streaming(
    names: str = "a b c", mute: str = "", **options: Any
) -> AsyncIterator[tuple[Fleet, Directory, Channel]]:
    """A fleet whose servers stream reports, but for the mute ones, and connections to all."""
    options.setdefault("balancing", OOB)
    directory = Directory(names)
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery)
        fleet.streamed = {name: load for name, load in LOADS.items() if name not in mute}
        await fleet.start(*names.split())
        async with open_channel(
            "fleet",
            dial_address=fleet.dial,
            resolver=directory,
            rng=random.Random(1),
            **options,
        ) as channel:
            channel.connect()
            await trio.sleep(0.001)
            yield fleet, directory, channel
        nursery.cancel_scope.cancel()


async def shares(channel: Channel, calls: int) -> Counter[str]:
    return Counter(await asks(channel, calls))


def near(**expected: int) -> Any:
    return pytest.approx(expected, abs=2)


async def test_weights_come_without_calls(autojump_clock: object) -> None:
    async with streaming() as (fleet, _, channel):
        assert await shares(channel, 30) == near(a=10, b=10, c=10)
        await trio.sleep(6)
        assert await shares(channel, 70) == near(a=40, b=20, c=10)
        fleet.streamed["a"] = at(0.8)
        await trio.sleep(3)
        assert await shares(channel, 80) == near(a=20, b=40, c=20)


async def test_reports_with_calls_do_not_count(autojump_clock: object) -> None:
    async with streaming() as (fleet, _, channel):
        fleet.loads = {"a": at(0.8), "b": at(0.8), "c": at(0.1)}
        await trio.sleep(6)
        assert await shares(channel, 70) == near(a=40, b=20, c=10)
        await trio.sleep(1.5)
        assert await shares(channel, 70) == near(a=40, b=20, c=10)


async def test_a_server_without_the_service_is_asked_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async with streaming(mute="b") as (_, _, channel):
        await trio.sleep(300)
        assert await shares(channel, 75) == near(a=40, b=25, c=10)  # the mean
    said = [record.getMessage() for record in caplog.records if "UNIMPLEMENTED" in record.message]
    assert said == ["server fleet at b:1: its server streams no load reports (UNIMPLEMENTED)"]


async def test_a_lost_connection_gets_another_stream(autojump_clock: object) -> None:
    async with streaming() as (fleet, _, channel):
        await trio.sleep(6)
        await fleet.disconnect("a")
        assert await shares(channel, 45) == near(
            a=15, b=20, c=10
        )  # a blackout: the mean of b and c
        await trio.sleep(6)
        assert await shares(channel, 70) == near(a=40, b=20, c=10)


async def test_a_stream_that_ends_is_opened_again_after_a_pause(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[float] = []
    watch = LoadWatch._watch

    async def watched(self: LoadWatch) -> bool:
        opened.append(trio.current_time() - began)
        return await watch(self)

    monkeypatch.setattr(LoadWatch, "_watch", watched)
    began = trio.current_time()

    def broken() -> LoadReport:
        raise ValueError("no idea")

    async with streaming("a") as (fleet, _, _):
        await trio.sleep(5)
        del fleet.streamed["a"]  # its service fails from now on: UNKNOWN
        await trio.sleep(30)
    assert opened[0] == pytest.approx(0, abs=0.01)
    pauses = [after - before for before, after in pairwise(opened[1:])]
    assert len(pauses) >= 3
    assert pauses == pytest.approx([1.6 ** (number + 1) for number in range(len(pauses))], rel=0.25)


async def test_addresses_that_go_take_their_stream_along(autojump_clock: object) -> None:
    async with streaming() as (_, directory, channel):
        await trio.sleep(6)
        directory.found("b c")
        await trio.sleep(0.1)
        live = channel.connector._shared.live
        assert len(live) == 2
        assert all(not connection.busy and len(connection.calls) == 1 for connection in live)
        assert await shares(channel, 30) == near(b=20, c=10)


async def test_streams_do_not_keep_a_channel_awake(autojump_clock: object) -> None:
    async with streaming(limits=Limits(idle_timeout=60)) as (_, _, channel):
        await ask(channel)
        await trio.sleep(70)
        assert channel.state == "IDLE"
        await trio.testing.wait_all_tasks_blocked()
        assert channel.connector._shared.live == []


async def test_a_stream_is_no_sign_of_a_server_of_use(autojump_clock: object) -> None:
    """One that turns everybody away at once is left alone, whatever it is asked by the balancer."""
    async with streaming("a b") as (fleet, _, _):
        for _ in range(40):
            await fleet.disconnect("a")
            await trio.sleep(0.2)
        assert sum(name == "a" for _, name in fleet.dialled) < 8


async def test_settings_change_without_new_connections(autojump_clock: object) -> None:
    def config(**options: Any) -> dict[str, Any]:
        return {"loadBalancingConfig": [{"weighted_round_robin": options}]}

    async with streaming(balancing="weighted_round_robin") as (fleet, directory, channel):
        await trio.sleep(20)
        assert await shares(channel, 30) == near(a=10, b=10, c=10)  # nobody reports with calls
        directory.found("a b c", config(enableOobLoadReport=True, blackoutPeriod="0s"))
        await trio.sleep(2)
        assert await shares(channel, 70) == near(a=40, b=20, c=10)
        fleet.loads = {"a": at(0.4), "b": at(0.2), "c": at(0.8)}
        directory.found("a b c", config(blackoutPeriod="0s"))
        await shares(channel, 30)
        await trio.sleep(2)
        assert await shares(channel, 70) == near(a=20, b=40, c=10)
        assert all(not connection.calls for connection in channel.connector._shared.live)
        assert len(fleet.dialled) == 3


async def test_streams_have_the_credentials_of_the_channel(autojump_clock: object) -> None:
    asked: Counter[str] = Counter()

    async def token(info: Any) -> dict[str, str]:
        asked[info.method] += 1
        return {"authorization": "Bearer x"}

    options: Any = {"credentials": token, "insecure_credentials": True}
    async with streaming("a b", **options) as (_, _, channel):
        await trio.sleep(6)
        assert asked == {"StreamCoreMetrics": 2}
        assert await shares(channel, 30) == near(a=20, b=10)


async def test_a_server_that_was_not_healthy_begins_with_a_blackout(
    autojump_clock: object,
) -> None:
    config: Any = {
        "loadBalancingConfig": [
            {"weighted_round_robin": {"enableOobLoadReport": True, "blackoutPeriod": "3s"}}
        ],
        "healthCheckConfig": {"serviceName": ""},
    }
    async with trio.open_nursery() as nursery:
        fleet = Fleet(nursery)
        fleet.streamed = dict(LOADS)
        health = HealthService()
        fleet.services["a"] = [health]  # the others have none, and count as healthy
        await fleet.start("a", "b", "c")
        directory = Directory("a b c")
        async with open_channel(
            "fleet",
            dial_address=fleet.dial,
            resolver=directory,
            service_config=config,
            rng=random.Random(1),
        ) as channel:
            channel.connect()
            await trio.sleep(25)  # two reports each, 10 s apart
            assert await shares(channel, 70) == near(a=40, b=20, c=10)
            health.set("", ServingStatus.NOT_SERVING)
            await trio.sleep(1)
            assert await shares(channel, 30) == near(b=20, c=10)
            health.set("", ServingStatus.SERVING)
            await trio.sleep(1)
            assert await shares(channel, 45) == near(a=15, b=20, c=10)
            await trio.sleep(12)
            assert await shares(channel, 70) == near(a=40, b=20, c=10)
            live = channel.connector._shared.live
            assert not any(item.busy for item in live)
            assert sorted(len(item.calls) for item in live) == [1, 1, 2]
        nursery.cancel_scope.cancel()
