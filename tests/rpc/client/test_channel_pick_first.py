"""pick_first: Happy Eyeballs, then one address for all calls."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing
from fleet import Directory, Fleet, ask, asks, fleet_of, refusal

from trioraft.rpc import Channel, Limits, PickFirst, Status, open_channel


def channel_to(fleet: Fleet, directory: Directory, **options: Any) -> Channel:
    options.setdefault("rng", random.Random(1))
    return open_channel("fleet", dial_address=fleet.dial, resolver=directory, **options)


async def test_the_first_address_takes_all_calls(autojump_clock: object) -> None:
    async with fleet_of("a b c") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        assert await asks(channel, 5) == ["a"] * 5
        assert fleet.dialled == [(0, "a")]


async def test_a_refused_address_is_followed_by_the_next_at_once(autojump_clock: object) -> None:
    async with fleet_of("c") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        assert await ask(channel) == "c"
        assert fleet.dialled == [(0, "a"), (0, "b"), (0, "c")]


async def test_a_silent_address_is_joined_by_the_next_after_a_quarter_second(
    autojump_clock: object,
) -> None:
    async with fleet_of("c") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        fleet.silent = ["a", "b"]
        assert await ask(channel) == "c"
        assert fleet.dialled == [(0, "a"), (0.25, "b"), (0.5, "c")]
        await trio.sleep(100)  # the attempts that lost are over
        assert len(fleet.dialled) == 3


async def test_families_take_turns(autojump_clock: object) -> None:
    fast = Limits(attempt_delay=0.1)
    directory = Directory("fd::1 fd::2 v4a v4b")
    async with fleet_of("v4b") as fleet, channel_to(fleet, directory, limits=fast) as channel:
        fleet.silent = ["fd::1", "fd::2", "v4a"]
        assert await ask(channel) == "v4b"
        expected = [(0, "fd::1"), (0.1, "v4a"), (0.2, "fd::2"), (0.3, "v4b")]
        assert fleet.dialled == expected


async def test_the_earlier_attempt_may_still_win(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet:
        fleet.silent = ["b"]

        async def slowly(address: Any) -> trio.abc.Stream:
            if address.host == "a":
                await trio.sleep(1)
            return await fleet.dial(address)

        async with open_channel("fleet", dial_address=slowly, resolver=Directory("a b")) as channel:
            assert await ask(channel) == "a"
            assert fleet.dialled == [(0.25, "b"), (1, "a")]


async def test_all_failing_is_told_and_each_is_tried_on_by_its_own_pauses(
    autojump_clock: object,
) -> None:
    directory = Directory("a b")
    async with fleet_of("") as fleet, channel_to(fleet, directory) as channel:
        error = await refusal(channel)
        assert error.status is Status.UNAVAILABLE
        assert "nobody at b" in str(error.message)
        await trio.testing.wait_all_tasks_blocked()
        assert directory.asked == 1
        assert channel.state == "TRANSIENT_FAILURE"
        await trio.sleep(8)
        for name in "ab":
            times = [time for time, dialled in fleet.dialled if dialled == name]
            assert times[:2] == [0, 1]
            assert 0.8 * 1.6 <= times[2] - times[1] <= 1.2 * 1.6
            assert 0.8 * 2.56 <= times[3] - times[2] <= 1.2 * 2.56
        await fleet.start("b")
        assert await ask(channel, wait_for_ready=True) == "b"
        assert channel.state == "READY"


async def test_pauses_begin_anew_once_the_server_was_reached(autojump_clock: object) -> None:
    async with fleet_of("") as fleet, channel_to(fleet, Directory("a")) as channel:
        await refusal(channel)
        await trio.sleep(100)  # by now the pauses are long
        await fleet.start("a")
        assert await ask(channel, wait_for_ready=True) == "a"
        await fleet.stop("a")
        await refusal(channel)
        lost = len(fleet.dialled)
        await trio.sleep(6)
        times = [time for time, _ in fleet.dialled[lost - 1 :]]
        assert times[1] - times[0] == pytest.approx(1)
        assert 0.8 * 1.6 <= times[2] - times[1] <= 1.2 * 1.6


async def test_failing_is_sticky_while_further_attempts_run(autojump_clock: object) -> None:
    async with fleet_of("") as fleet, channel_to(fleet, Directory("a")) as channel:
        await refusal(channel)
        fleet.silent = ["a"]
        await trio.sleep(1.5)
        assert fleet.dialled == [(0, "a"), (1, "a")]
        before = trio.current_time()
        assert (await refusal(channel)).status is Status.UNAVAILABLE
        assert trio.current_time() == before


async def test_it_stays_with_its_address_whatever_else_is_found(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with fleet_of("a b c") as fleet, channel_to(fleet, directory) as channel:
        assert await ask(channel) == "a"
        directory.found("c b a")
        assert await asks(channel, 3) == ["a"] * 3
        assert len(fleet.dialled) == 1


async def test_an_address_that_is_gone_is_left_without_harm_to_its_calls(
    autojump_clock: object,
) -> None:
    directory = Directory("a b")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        fleet.gate = trio.Event()
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            directory.found("b")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.running == {"a": 1, "b": 1}
            fleet.gate.set()
        assert sorted(answers) == ["a", "b"]
        await trio.testing.wait_all_tasks_blocked()
        assert len(channel.connector._shared.live) == 1  # the other has ended with its last call


async def test_a_lost_connection_leaves_it_idle_and_asks_for_addresses(
    autojump_clock: object,
) -> None:
    directory = Directory("a b")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        assert await ask(channel) == "a"
        await fleet.stop("a")
        assert channel.state == "IDLE"
        assert directory.asked == 1
        await trio.sleep(100)
        assert len(fleet.dialled) == 1  # nobody needs a connection
        assert await ask(channel) == "b"
        assert [name for _, name in fleet.dialled] == ["a", "a", "b"]


async def test_shuffled_addresses_spread_many_clients(autojump_clock: object) -> None:
    chosen: list[str] = []
    async with fleet_of("a b c") as fleet:
        for seed in range(30):
            async with channel_to(
                fleet,
                Directory("a b c"),
                balancing=PickFirst(shuffle=True),
                rng=random.Random(seed),
            ) as channel:
                chosen += await asks(channel, 1)
    assert all(chosen.count(name) >= 4 for name in "abc")


async def test_no_address_at_all_is_unavailable_until_there_is_one(autojump_clock: object) -> None:
    directory = Directory("")
    async with fleet_of("a") as fleet, channel_to(fleet, directory) as channel:
        assert "no address" in str((await refusal(channel)).message)
        directory.found("a")
        assert await ask(channel, wait_for_ready=True) == "a"
        directory.found("")
        assert (await refusal(channel)).status is Status.UNAVAILABLE


async def test_addresses_that_come_back_are_tried_also_by_a_channel_that_was_idle(
    autojump_clock: object,
) -> None:
    directory = Directory("a")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        assert await ask(channel) == "a"
        await fleet.disconnect("a")
        assert channel.state == "IDLE"
        directory.found("")
        assert "no address" in str((await refusal(channel)).message)
        directory.found("b")
        with trio.fail_after(100):
            assert await ask(channel, wait_for_ready=True) == "b"


async def test_a_server_that_turns_everybody_away_is_passed_over(autojump_clock: object) -> None:
    """It greets and says GOAWAY in one breath; the next address takes the calls."""
    greeting = bytes.fromhex("000000040000000000 00000807000000000000000000 00000000")

    async with fleet_of("b") as fleet:

        async def dial(address: Any) -> trio.abc.Stream:
            if address.host == "b":
                return await fleet.dial(address)
            fleet.dialled.append((fleet.now(), address.host))
            ours, theirs = trio.testing.memory_stream_pair()
            fleet.ends.setdefault("a", []).append(theirs)
            await theirs.send_all(greeting)
            return ours

        async with open_channel("fleet", dial_address=dial, resolver=Directory("a b")) as channel:
            assert await ask(channel) == "b"
            assert [name for _, name in fleet.dialled] == ["a", "b"]
