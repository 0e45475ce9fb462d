"""Calls that wait for a connection instead of failing, and calls that do not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY
from fleet import Directory, Fleet, ask, fleet_of, refusal

from trioraft.rpc import Cardinality, Channel, GRPCError, Limits, Status, open_channel


@asynccontextmanager
async def lonely(**options: Any) -> AsyncIterator[tuple[Channel, Fleet]]:
    """A channel to a server that is down."""
    async with (
        fleet_of("") as fleet,
        open_channel(
            "fleet", dial_address=fleet.dial, resolver=Directory("a"), **options
        ) as channel,
    ):
        yield channel, fleet


async def test_it_waits_through_failures(autojump_clock: object) -> None:
    async with lonely() as (channel, fleet):
        answers: list[tuple[str, float]] = []

        async def patient() -> None:
            answers.append((await ask(channel, wait_for_ready=True), fleet.now()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            await trio.sleep(4)
            assert channel.state == "TRANSIENT_FAILURE"
            assert (await refusal(channel)).status is Status.UNAVAILABLE  # others do not wait
            await fleet.start("a")
        [(name, when)] = answers
        assert name == "a"
        assert 4 < when < 10


async def test_its_deadline_ends_it(autojump_clock: object) -> None:
    async with lonely() as (channel, fleet):
        error = await refusal(channel, wait_for_ready=True, timeout=7)
        assert error.status is Status.DEADLINE_EXCEEDED
        assert fleet.now() == 7


async def test_cancelling_ends_it(autojump_clock: object) -> None:
    async with lonely() as (channel, _):
        with trio.move_on_after(5) as scope:
            await ask(channel, wait_for_ready=True)
        assert scope.cancelled_caught
        assert not channel.connector._shared.waiting


async def test_closing_the_channel_ends_it(autojump_clock: object) -> None:
    errors: list[GRPCError] = []

    async def patient(channel: Channel) -> None:
        errors.append(await refusal(channel, wait_for_ready=True))

    async with trio.open_nursery() as nursery:
        async with lonely() as (channel, _):
            nursery.start_soon(patient, channel)
            await trio.sleep(3)
    [error] = errors
    assert error.status is Status.UNAVAILABLE
    assert "closed" in str(error.message)


async def test_a_channel_may_have_its_calls_wait(autojump_clock: object) -> None:
    async with lonely(wait_for_ready=True) as (channel, fleet):
        error = await refusal(channel, timeout=3)
        assert error.status is Status.DEADLINE_EXCEEDED
        error = await refusal(channel, wait_for_ready=False, timeout=3)
        assert error.status is Status.UNAVAILABLE
        await fleet.start("a")
        assert await ask(channel) == "a"


async def test_it_is_an_option_of_a_request(autojump_clock: object) -> None:
    async with lonely() as (channel, fleet):
        await refusal(channel)
        kind = Cardinality.UNARY_UNARY
        async with trio.open_nursery() as nursery:
            await nursery.start(start_late, fleet)
            async with channel.request(
                UNARY, kind, EchoRequest, EchoReply, wait_for_ready=True
            ) as stream:
                await stream.send_message(EchoRequest())
                reply = await stream.recv_message()
        assert reply.payload == b"a"


async def start_late(fleet: Fleet, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep(2)
    await fleet.start("a")


async def test_calls_made_while_connecting_wait(autojump_clock: object) -> None:
    async with lonely() as (channel, fleet):
        fleet.silent = ["a"]
        errors: list[tuple[Status, float]] = []

        async def hasty() -> None:
            error = await refusal(channel)
            errors.append((error.status, fleet.now()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hasty)
            await trio.sleep(5)
            assert channel.state == "CONNECTING"
            nursery.start_soon(hasty)
        assert errors == [(Status.UNAVAILABLE, 20)] * 2  # the attempt had 20 s


async def test_those_that_wait_are_bounded(autojump_clock: object) -> None:
    async with lonely(limits=Limits(max_waiting_calls=3)) as (channel, _):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(refusal_by_timeout, channel)
            await trio.sleep(1)
            error = await refusal(channel, wait_for_ready=True)
            assert error.status is Status.RESOURCE_EXHAUSTED


async def refusal_by_timeout(channel: Channel) -> None:
    error = await refusal(channel, wait_for_ready=True, timeout=5)
    assert error.status is Status.DEADLINE_EXCEEDED


async def test_a_view_is_a_channel_for_stubs(autojump_clock: object) -> None:
    async with lonely() as (channel, fleet):
        view = channel.with_options(wait_for_ready=True)
        assert "wait_for_ready=True" in repr(view)
        await refusal(channel)
        await fleet.start("a")
        reply = await EchoStub(view).Unary(EchoRequest(), metadata={"x": "y"}, timeout=30)
        assert reply.payload == b"a"


async def test_a_dial_of_ones_own_leads_to_one_place() -> None:
    async def dial() -> trio.abc.Stream:
        raise OSError

    with pytest.raises(ValueError, match="dial_address"):
        open_channel("x", dial=dial, resolver=Directory("a"))
