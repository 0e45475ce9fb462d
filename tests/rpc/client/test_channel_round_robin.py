"""round_robin: every address that is connected, in turn."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import trio
import trio.testing
from fleet import Directory, Fleet, addresses, ask, asks, fleet_of, refusal

from trioraft.rpc import Channel, Limits, RoundRobin, Status, open_channel


def channel_to(fleet: Fleet, directory: Directory, **options: Any) -> Channel:
    options.setdefault("balancing", "round_robin")
    options.setdefault("rng", random.Random(1))
    return open_channel(
        "fleet",
        dial_address=fleet.dial,
        resolver=directory,
        **options,
    )


async def ready(channel: Channel, connections: int) -> None:
    """Wait until so many connections are made."""
    channel.connect()
    while len(channel.connector._in_use()) < connections:
        await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked()


async def test_calls_take_turns(autojump_clock: object) -> None:
    async with fleet_of("a b c") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        await ready(channel, 3)
        answers = await asks(channel, 9)
        assert Counter(answers) == {"a": 3, "b": 3, "c": 3}
        assert answers[:3] == answers[3:6] == answers[6:]


async def test_clients_begin_anywhere(autojump_clock: object) -> None:
    begun: Counter[str] = Counter()
    async with fleet_of("a b c") as fleet:
        for seed in range(30):
            rng = random.Random(seed)
            async with channel_to(fleet, Directory("a b c"), rng=rng) as channel:
                await ready(channel, 3)
                begun[await ask(channel)] += 1
    assert min(begun[name] for name in "abc") >= 4


async def test_calls_begin_with_the_first_connection(autojump_clock: object) -> None:
    async with fleet_of("b") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        fleet.silent = ["c"]
        assert await asks(channel, 3) == ["b"] * 3
        assert channel.state == "READY"


async def test_one_that_fails_is_left_out_until_it_is_back(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        await ready(channel, 2)
        await fleet.stop("a")
        assert directory.asked >= 1
        assert await asks(channel, 4) == ["b"] * 4
        await fleet.start("a")
        await trio.sleep(10)
        assert sorted(await asks(channel, 4)) == ["a", "a", "b", "b"]


async def test_a_lost_connection_is_made_again_at_once(autojump_clock: object) -> None:
    async with fleet_of("a b") as fleet, channel_to(fleet, Directory("a b")) as channel:
        await ready(channel, 2)
        await asks(channel, 4)
        await fleet.disconnect("a")
        assert sorted(name for _, name in fleet.dialled) == ["a", "a", "b"]
        assert sorted(await asks(channel, 4)) == ["a", "a", "b", "b"]


async def test_all_failing_is_unavailable_at_once(autojump_clock: object) -> None:
    async with fleet_of("") as fleet, channel_to(fleet, Directory("a b")) as channel:
        fleet.silent = ["b"]
        with trio.move_on_after(1) as scope:
            await ask(channel)  # one is still being tried
        assert scope.cancelled_caught
        fleet.silent = []
        await trio.sleep(25)
        error = await refusal(channel)
        assert error.status is Status.UNAVAILABLE
        assert "fleet at" in str(error.message)


async def test_addresses_come_and_go(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with fleet_of("a b c") as fleet, channel_to(fleet, directory) as channel:
        await ready(channel, 2)
        directory.found("b c")
        await ready(channel, 2)
        assert sorted(await asks(channel, 4)) == ["b", "b", "c", "c"]
        directory.found("")
        assert (await refusal(channel)).status is Status.UNAVAILABLE
        directory.found("a")
        assert await asks(channel, 2) == ["a", "a"]


async def test_goaway_of_one_server_fails_no_call_in_flight(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with fleet_of("a b") as fleet, channel_to(fleet, directory) as channel:
        await ready(channel, 2)
        fleet.gate = trio.Event()
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.running == {"a": 2, "b": 2}
            # A polite server: GOAWAY that keeps what has begun (RFC 9113 §6.8).
            goaway = bytes.fromhex("000008 07 00 00000000 7fffffff 00000000")
            [polite] = fleet.server_ends("a")
            await polite.send_all(goaway)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(4):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            assert fleet.running == {"a": 4, "b": 4}
            fleet.gate.set()
        assert sorted(answers) == ["a"] * 4 + ["b"] * 4
        assert sorted(name for _, name in fleet.dialled) == ["a", "a", "b"]
        await trio.testing.wait_all_tasks_blocked()
        assert len(channel.connector._shared.live) == 2


async def test_calls_that_a_goaway_refuses_are_made_elsewhere(autojump_clock: object) -> None:
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, Directory("a b")) as channel,
    ):
        await ready(channel, 2)
        fleet.gate = trio.Event()
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            # It has looked at none of its calls, it says.
            goaway = bytes.fromhex("000008 07 00 00000000 00000000 00000000")
            [leaving] = fleet.server_ends("a")
            await leaving.send_all(goaway)
            await trio.testing.wait_all_tasks_blocked()
            assert sum(fleet.running.values()) == 4
            assert fleet.running["b"] >= 3
            fleet.gate.set()
        assert len(answers) == 4


async def test_a_full_connection_is_passed_over(autojump_clock: object) -> None:
    async with fleet_of("a") as fleet:
        await fleet.start("b", limits=Limits(max_concurrent_streams=1))
        async with channel_to(fleet, Directory("a b")) as channel:
            await ready(channel, 2)
            fleet.gate = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(ask, channel)
                await trio.testing.wait_all_tasks_blocked()
                assert fleet.running == {"a": 5, "b": 1}
                fleet.gate.set()


async def test_static_lists_need_no_resolver(autojump_clock: object) -> None:
    async with fleet_of("127.0.0.1 127.0.0.2") as fleet:
        async with open_channel(
            "ipv4:127.0.0.1:1,127.0.0.2:1", dial_address=fleet.dial, balancing=RoundRobin()
        ) as channel:
            await ready(channel, 2)
            assert sorted(await asks(channel, 2)) == ["127.0.0.1", "127.0.0.2"]


async def test_the_policy_can_be_changed(autojump_clock: object) -> None:
    directory = Directory("a b")
    async with (
        fleet_of("a b") as fleet,
        channel_to(fleet, directory, balancing="pick_first") as channel,
    ):
        assert await asks(channel, 3) == ["a"] * 3
        fleet.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, channel)
            await trio.testing.wait_all_tasks_blocked()
            channel.connector.balance(RoundRobin())
            await trio.testing.wait_all_tasks_blocked()
            fleet.gate.set()
        await ready(channel, 2)
        assert sorted(await asks(channel, 4)) == ["a", "a", "b", "b"]


async def test_many_tasks_share_a_channel(autojump_clock: object) -> None:
    async with fleet_of("a b c") as fleet, channel_to(fleet, Directory("a b c")) as channel:
        await ready(channel, 3)
        seen: Counter[str] = Counter()

        async def caller() -> None:
            for _ in range(20):
                seen[await ask(channel)] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(15):
                nursery.start_soon(caller)
        assert sum(seen.values()) == 300
        assert max(seen.values()) - min(seen.values()) <= 1


def test_addresses_are_words() -> None:
    assert [str(address) for address in addresses("a b")] == ["a:1", "b:1"]


async def test_cancelled_callers_leave_the_others_alone(autojump_clock: object) -> None:
    async with fleet_of("") as fleet, channel_to(fleet, Directory("a")) as channel:
        fleet.silent = ["a"]
        answers: list[str] = []

        async def one() -> None:
            answers.append(await ask(channel, wait_for_ready=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                with trio.move_on_after(0.1):
                    await ask(channel)
            await fleet.start("a")
            fleet.silent = []
            await trio.sleep(25)
        assert answers == ["a"]
