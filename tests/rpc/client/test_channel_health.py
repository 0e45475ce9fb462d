"""Health that a client watches: who says that it is not well gets no calls (gRPC proposal A17)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from fleet import Directory, Fleet, addresses, ask, asks, refusal
from health_fleet import CONFIG, HealthFleet, config_for, states_of

from trioraft.rpc import Channel, GRPCError, Limits, Resolution, Status, open_channel
from trioraft.rpc.services import Registry, ServingStatus

SERVING, NOT_SERVING = ServingStatus.SERVING, ServingStatus.NOT_SERVING


@asynccontextmanager
async def fleet_of(names: str) -> AsyncIterator[HealthFleet]:
    async with trio.open_nursery() as nursery:
        fleet = HealthFleet(nursery)
        await fleet.start(*names.split())
        yield fleet
        nursery.cancel_scope.cancel()


def channel_to(fleet: Fleet, directory: Directory, **options: Any) -> Channel:
    options.setdefault("balancing", "round_robin")
    options.setdefault("service_config", CONFIG)
    return open_channel("fleet", dial_address=fleet.dial, resolver=directory, **options)


async def settled(channel: Channel) -> None:
    channel.connect()
    await trio.testing.wait_all_tasks_blocked()
    await trio.sleep(0.01)


# ---- the answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["round_robin", "weighted_round_robin"])
async def test_calls_go_where_it_is_serving(policy: str, autojump_clock: object) -> None:
    async with (
        fleet_of("a b c") as fleet,
        channel_to(fleet, Directory("a b c"), balancing=policy) as channel,
    ):
        fleet.health["b"].set("shop", NOT_SERVING)
        await settled(channel)
        assert Counter(await asks(channel, 6)) == {"a": 3, "c": 3}
        fleet.health["b"].set("shop", SERVING)
        fleet.health["a"].set("shop", NOT_SERVING)
        await settled(channel)
        assert Counter(await asks(channel, 6)) == {"b": 3, "c": 3}
        assert sorted(name for _, name in fleet.dialled) == ["a", "b", "c"]  # each once


@pytest.mark.parametrize("bad", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN", "status 17"])
async def test_whatever_is_not_serving_fails(bad: str, autojump_clock: object) -> None:
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        if bad == "SERVICE_UNKNOWN":
            fleet.health["a"].remove("shop")
        elif bad == "status 17":
            fleet.scripts["a"] = [[17]]
        else:
            fleet.health["a"].set("shop", ServingStatus[bad])
        await settled(channel)
        assert channel.state == "TRANSIENT_FAILURE"
        error = await refusal(channel)
        assert error.status is Status.UNAVAILABLE
        assert str(error.message).endswith(f"a:1: not healthy: {bad}")


async def test_nothing_is_sent_before_the_first_answer(autojump_clock: object) -> None:
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        fleet.scripts["a"] = [["wait 5", 1]]
        began = trio.current_time()
        assert await ask(channel) == "a"  # waits, as while it connects
        assert trio.current_time() - began == pytest.approx(5)


async def test_calls_that_wait_for_ready_wait_for_health(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet, channel_to(fleet, Directory("a b")) as channel:
        for name in "ab":
            fleet.health[name].set("shop", NOT_SERVING)
        await settled(channel)
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel, wait_for_ready=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(100)
            assert not answers
            fleet.health["b"].set("shop", SERVING)
        assert answers == ["b"]


async def test_calls_under_way_go_on(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet, channel_to(fleet, Directory("a b")) as channel:
        await settled(channel)
        fleet.gate = trio.Event()
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            fleet.health["a"].set("shop", NOT_SERVING)
            await settled(channel)
            for _ in range(2):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.running == {"a": 2, "b": 4}
            fleet.gate.set()
        assert Counter(answers) == {"a": 2, "b": 4}


# ---- servers without it, and streams that end ----------------------------------------------------


async def test_unimplemented_is_healthy_and_said_once(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry()
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, Directory("a b"), registry=registry) as channel,
    ):
        fleet.scripts = {"a": [[Status.UNIMPLEMENTED]] * 9, "b": [[Status.UNIMPLEMENTED]] * 9}
        await settled(channel)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}
        await trio.sleep(500)
        assert fleet.watches == {"a": 1, "b": 1}  # not asked again on the connection
        await fleet.disconnect("a")
        await settled(channel)
        assert fleet.watches == {"a": 2, "b": 1}
        assert channel.entry is not None
        traced = [event.description for event in channel.entry.trace.events]
        assert sum("no health service" in description for description in traced) == 1
    said = [r for r in caplog.records if "no health service" in r.getMessage()]
    assert [r.levelno for r in said] == [logging.WARNING]


async def test_a_stream_that_fails_is_opened_again_with_growing_pauses(
    autojump_clock: object,
) -> None:
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        fleet.scripts["a"] = [[Status.INTERNAL]] * 4
        channel.connect()
        await trio.sleep(0.5)
        assert channel.state == "TRANSIENT_FAILURE"
        assert "health watch has failed: INTERNAL" in str((await refusal(channel)).message)
        await trio.sleep(30)
        assert channel.state == "READY"
        began = fleet.watched_at["a"]
        pauses = [later - sooner for sooner, later in pairwise(began)]
        assert pauses[0] == pytest.approx(1)
        for pause, wanted in zip(pauses[1:], [1.6, 2.56, 4.096], strict=True):
            assert 0.8 * wanted <= pause <= 1.2 * wanted
        assert len(fleet.dialled) == 1


async def test_an_answered_stream_begins_the_pauses_anew(autojump_clock: object) -> None:
    ended: list[Any] = [1, "wait 50"]  # ... and OK
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        fleet.scripts["a"] = [
            [Status.INTERNAL],
            [Status.INTERNAL],
            ended,
            ended,
            [1, Status.ABORTED],
        ]
        channel.connect()
        await trio.sleep(200)
        began = fleet.watched_at["a"]
        assert began[3] - began[2] == pytest.approx(50)  # at once after the end of the last
        assert began[4] - began[3] == pytest.approx(50)
        assert began[5] - began[4] == pytest.approx(1)  # and yet not without end
        assert channel.state == "READY"


async def test_a_broken_stream_costs_no_call_elsewhere(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet, channel_to(fleet, Directory("a b")) as channel:
        fleet.scripts["a"] = [[1, "wait 5", Status.INTERNAL], [Status.INTERNAL]]
        await settled(channel)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}
        await trio.sleep(5.5)
        assert await asks(channel, 4) == ["b"] * 4
        await trio.sleep(10)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}


async def test_a_lost_connection_is_made_again(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet, channel_to(fleet, Directory("a b")) as channel:
        fleet.health["a"].set("shop", NOT_SERVING)
        await settled(channel)
        await trio.sleep(10)
        await fleet.disconnect("a")
        await fleet.disconnect("b")
        fleet.health["a"].set("shop", SERVING)
        await settled(channel)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}
        assert Counter(name for _, name in fleet.dialled) == {"a": 2, "b": 2}


async def test_goaway_ends_the_watch_and_the_connection(autojump_clock: object) -> None:
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        await settled(channel)
        assert await ask(channel) == "a"
        goaway = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
        [polite] = fleet.server_ends("a")
        await polite.send_all(goaway)
        await settled(channel)
        assert fleet.watching == {"a": 1}  # on the new connection; the old one has ended
        assert len(channel.connector._shared.live) == 1
        assert await ask(channel) == "a"


# ---- who asks, and when --------------------------------------------------------------------------


async def test_pick_first_does_not_ask(autojump_clock: object) -> None:
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, Directory("a b"), balancing="pick_first") as channel,
    ):
        fleet.health["a"].set("shop", NOT_SERVING)
        assert await asks(channel, 2) == ["a", "a"]
        assert fleet.watches == {}


async def test_it_can_be_turned_off(autojump_clock: object) -> None:
    async with (
        fleet_of("a") as fleet,
        channel_to(fleet, Directory("a"), health_checks=False) as channel,
    ):
        fleet.health["a"].set("shop", NOT_SERVING)
        assert await ask(channel) == "a"
        assert fleet.watches == {}


async def test_a_name_that_is_left_out_asks_nothing_and_an_empty_one_does(
    autojump_clock: object,
) -> None:
    async with fleet_of("a") as fleet:
        config: dict[str, Any] = {"healthCheckConfig": {}}
        async with channel_to(fleet, Directory("a"), service_config=config) as channel:
            assert await ask(channel) == "a"
            assert fleet.watches == {}
        async with channel_to(fleet, Directory("a"), service_config=config_for("")) as channel:
            assert await ask(channel) == "a"
            assert fleet.watches == {"a": 1}
            fleet.health["a"].set("", NOT_SERVING)
            await settled(channel)
            assert channel.state == "TRANSIENT_FAILURE"


async def test_a_resolver_changes_what_is_asked(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, directory, service_config=None) as channel,
    ):
        fleet.health["a"].set("shop", NOT_SERVING)
        fleet.health["b"].set("bank", NOT_SERVING)
        await settled(channel)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}
        for service, answers in [("shop", {"b": 4}), ("bank", {"a": 4}), ("shop", {"b": 4})]:
            directory.found("a b", config_for(service))
            assert channel.state == "READY"  # what was known holds until the answer
            await settled(channel)
            assert Counter(await asks(channel, 4)) == answers
            assert fleet.watching == {"a": 1, "b": 1}
        watches = dict(fleet.watches)
        directory.found("a b", {**config_for("shop"), "methodConfig": []})
        await settled(channel)
        assert fleet.watches == watches  # the same question
        directory.found("a b", {})
        await settled(channel)
        assert Counter(await asks(channel, 4)) == {"a": 2, "b": 2}
        assert fleet.watching == {"a": 0, "b": 0}
        assert Counter(name for _, name in fleet.dialled) == {"a": 1, "b": 1}


async def test_a_watch_that_finds_every_stream_taken_waits_for_one(autojump_clock: object) -> None:
    directory = Directory("a")
    async with trio.open_nursery() as nursery:
        fleet = HealthFleet(nursery)
        await fleet.start("a", limits=Limits(max_concurrent_streams=2))
        async with channel_to(fleet, directory, service_config=None) as channel:
            fleet.gate = trio.Event()
            async with trio.open_nursery() as calls:
                for _ in range(2):
                    calls.start_soon(ask, channel)
                await settled(channel)
                fleet.health["a"].set("shop", NOT_SERVING)
                directory.found("a", CONFIG)
                await settled(channel)
                assert fleet.watches == {}
                assert channel.state == "READY"
                fleet.gate.set()
            await settled(channel)
            assert fleet.watches == {"a": 1}
            assert channel.state == "TRANSIENT_FAILURE"
            assert len(fleet.dialled) == 1
        nursery.cancel_scope.cancel()


async def test_addresses_that_go_are_watched_no_more(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        fleet.health["a"].set("shop", NOT_SERVING)
        await settled(channel)
        directory.found("b")
        await settled(channel)
        assert fleet.watching == {"a": 0, "b": 1}
        assert len(channel.connector._shared.live) == 1
        directory.found("b", config_for("bank"))  # nobody is left to be told
        await settled(channel)
        assert fleet.watching == {"a": 0, "b": 1}


async def test_several_connections_are_watched_each(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        fleet = HealthFleet(nursery)
        await fleet.start("a", limits=Limits(max_concurrent_streams=2))
        limits = Limits(max_connections_per_address=2)
        async with channel_to(fleet, Directory("a"), limits=limits) as channel:
            fleet.gate = trio.Event()
            async with trio.open_nursery() as calls:
                for _ in range(2):
                    calls.start_soon(ask, channel)
                await trio.sleep(1)
                assert fleet.running == {"a": 2}  # each connection: a watch and a call
                assert fleet.watching == {"a": 2}
                fleet.health["a"].set("shop", NOT_SERVING)
                await settled(channel)
                assert channel.state == "TRANSIENT_FAILURE"
                fleet.health["a"].set("shop", SERVING)
                await settled(channel)
                assert channel.state == "READY"
                assert len(channel.connector._in_use()) == 2
                fleet.gate.set()
        nursery.cancel_scope.cancel()


async def test_unhealthy_connections_count_among_those_allowed(autojump_clock: object) -> None:
    async with trio.open_nursery() as nursery:
        fleet = HealthFleet(nursery)
        await fleet.start("a", limits=Limits(max_concurrent_streams=2))
        limits = Limits(max_connections_per_address=2)
        async with channel_to(fleet, Directory("a"), limits=limits) as channel:
            fleet.scripts["a"] = [[1], [2]]
            fleet.gate = trio.Event()
            async with trio.open_nursery() as calls:
                for _ in range(4):
                    calls.start_soon(ask, channel)
                await trio.sleep(100)
                assert fleet.running == {"a": 1}  # beside the watch
                assert len(fleet.dialled) == 2
                fleet.gate.set()
        nursery.cancel_scope.cancel()


# ---- what a watch is not -------------------------------------------------------------------------


async def test_watches_do_not_keep_a_channel_awake(autojump_clock: object) -> None:
    limits = Limits(idle_timeout=60)
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, Directory("a b"), limits=limits) as channel,
    ):
        fleet.scripts["a"] = [[1, "wait 9"]] * 4  # one that comes again and again
        await settled(channel)
        await trio.sleep(67)
        assert channel.state == "IDLE"
        await trio.testing.wait_all_tasks_blocked()
        assert fleet.watching == {"a": 0, "b": 0}
        assert not channel.connector._shared.live
        assert await ask(channel) in "ab"
        await settled(channel)
        assert fleet.watching == {"a": 1, "b": 1}


async def test_a_server_that_turns_away_what_it_calls_healthy_gets_its_pauses(
    autojump_clock: object,
) -> None:
    """A watch is no use of a connection: one that ends at once is no better than none."""
    async with fleet_of("a") as fleet, channel_to(fleet, Directory("a")) as channel:
        for _ in range(2):
            await settled(channel)
            await fleet.disconnect("a")
        await trio.sleep(0.5)
        assert len(fleet.dialled) == 1
        await trio.sleep(1)
        assert len(fleet.dialled) == 2


async def test_interceptors_do_not_see_it_but_credentials_go_along(autojump_clock: object) -> None:
    seen: list[str] = []
    asked: list[Any] = []

    @asynccontextmanager
    async def spy(call: Any) -> AsyncIterator[None]:
        seen.append(call.method)
        yield

    async def token(info: Any) -> dict[str, str]:
        asked.append((info.service_url, info.method))
        if len(asked) == 1:
            raise GRPCError(Status.UNAVAILABLE, "no token")
        return {"authorization": "Bearer x"}

    async with (
        fleet_of("a") as fleet,
        channel_to(
            fleet,
            Directory("a"),
            interceptors=[spy],
            credentials=token,
            insecure_credentials=True,
        ) as channel,
    ):
        await settled(channel)
        assert "no token" in str((await refusal(channel)).message)
        await trio.sleep(2)
        watch = ("https://fleet/grpc.health.v1.Health", "Watch")
        assert asked == [watch, ("https://fleet/trioraft.testing.Echo", "Unary"), watch]
        assert fleet.metadata["a"]["authorization"] == "Bearer x"
        assert await ask(channel) == "a"
        assert seen == ["/trioraft.testing.Echo/Unary"] * 2


async def test_nothing_is_left_of_it(autojump_clock: object) -> None:
    """Cancelled at any moment: before the answer, while it is watched, in a pause."""
    async with fleet_of("a") as fleet:
        for script in ([["wait 1000"]], [[1]], [[Status.INTERNAL]] * 2):
            fleet.scripts["a"] = [list(item) for item in script]
            with trio.move_on_after(0.5) as scope:
                async with channel_to(fleet, Directory("a")) as channel:
                    channel.connect()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.watching["a"] == 0
            assert channel._nursery is None
            assert not channel.connector._shared.live
            assert not channel.connector._shared.checked


async def test_channelz_says_why(autojump_clock: object) -> None:
    registry = Registry()
    async with (
        fleet_of("a") as fleet,
        channel_to(fleet, Directory("a"), registry=registry) as channel,
    ):
        fleet.health["a"].set("shop", NOT_SERVING)
        await settled(channel)
        assert states_of(registry) == ["TRANSIENT_FAILURE"]
        [entry] = registry.subchannels.values()
        assert any("not healthy: NOT_SERVING" in event.description for event in entry.trace.events)
        assert entry.totals().running == 1  # the watch
        fleet.health["a"].set("shop", SERVING)
        await settled(channel)
        assert states_of(registry) == ["READY"]
        await fleet.disconnect("a")
        await settled(channel)
        # It has ended with its connection, which is no news of the server's health.
        assert not any("health watch" in event.description for event in entry.trace.events)


async def test_the_next_stream_is_another_attempt(autojump_clock: object) -> None:
    registry = Registry()
    async with (
        fleet_of("a") as fleet,
        channel_to(fleet, Directory("a"), registry=registry) as channel,
    ):
        fleet.scripts["a"] = [[Status.INTERNAL], ["wait 5", 1]]
        channel.connect()
        await trio.sleep(0.5)
        assert states_of(registry) == ["TRANSIENT_FAILURE"]
        await trio.sleep(2)
        assert states_of(registry) == ["CONNECTING"]
        assert channel.state == "TRANSIENT_FAILURE"  # which lasts until one is READY (A62)
        await trio.sleep(5)
        assert states_of(registry) == ["READY"]
        assert channel.state == "READY"


def test_a_name_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match=r"healthCheckConfig\.serviceName"):
        open_channel("a:1", service_config='{"healthCheckConfig": {"serviceName": "\\ud800"}}')


async def test_a_list_of_addresses_needs_no_resolver(autojump_clock: object) -> None:
    class Once:
        async def run(self, updates: Any) -> None:
            updates.found(Resolution(addresses("a b"), CONFIG))

    async with fleet_of("a b") as fleet:
        fleet.health["a"].set("shop", NOT_SERVING)
        async with open_channel(
            "fleet", dial_address=fleet.dial, resolver=Once(), balancing="round_robin"
        ) as channel:
            await settled(channel)
            assert await asks(channel, 3) == ["b"] * 3
