"""The pool of channels: open while somebody uses them, and a moment longer."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from trioraft.host.channels import ChannelPool
from trioraft.host.environment import RealEnvironment
from trioraft.rpc import GRPCError, Limits, Status


class NoNetwork(RealEnvironment):
    """Counts the attempts to connect, all of which fail."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = random.Random(1)
        self.dialled: list[str] = []

    async def dial(self, address: str) -> trio.abc.Stream:
        self.dialled.append(address)
        raise OSError("nobody there")


async def call(pool_channel: object) -> str:
    with pytest.raises(GRPCError) as caught:
        await pool_channel.connection()  # type: ignore[attr-defined]
    assert caught.value.status is Status.UNAVAILABLE
    return caught.value.message or ""


async def test_a_channel_works_before_its_task_has_begun(
    autojump_clock: trio.testing.MockClock,
) -> None:
    environment = NoNetwork()
    async with trio.open_nursery() as nursery:
        pool = ChannelPool(nursery, environment, Limits())
        pair = pool.acquire("a:1")
        assert "nobody there" in await call(pair.bulk)  # it has waited, and tried
        assert environment.dialled == ["a:1"]
        nursery.cancel_scope.cancel()


async def test_users_share_a_pair_and_the_last_one_closes_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        pool = ChannelPool(nursery, NoNetwork(), Limits())
        pair = pool.acquire("a:1")
        assert pool.acquire("a:1") is pair
        pool.release("a:1")
        await trio.sleep(60)
        assert pool.find("a:1") is pair
        pool.release("a:1")
        await trio.testing.wait_all_tasks_blocked()
        assert pool.find("a:1") is pair  # for a moment
        await trio.sleep(60)
        assert pool.find("a:1") is None
        assert len(pool) == 0
        assert "no peer any more" in await call(pair.urgent)
        assert not nursery.child_tasks


async def test_a_peer_that_comes_back_soon_finds_its_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        pool = ChannelPool(nursery, NoNetwork(), Limits())
        pair = pool.acquire("a:1")
        await trio.testing.wait_all_tasks_blocked()
        pool.release("a:1")
        await trio.sleep(0.1)
        assert pool.acquire("a:1") is pair
        await trio.sleep(60)
        assert pool.find("a:1") is pair
        pool.release("a:1")
        await trio.sleep(60)
        assert pool.find("a:1") is None


async def test_a_pair_that_is_released_at_once_never_opens(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        pool = ChannelPool(nursery, NoNetwork(), Limits())
        with pool.visit("a:1") as channel:
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert len(pool) == 0
        assert "no peer any more" in await call(channel)
