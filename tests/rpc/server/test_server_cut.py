"""Calls that a server ends over their handlers' heads, because a grace period is over."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply
from echo_service import CHAT, One, chat

from trioraft.rpc import (
    Cardinality,
    Channel,
    Encoded,
    GRPCError,
    Service,
    Status,
    open_channel,
    open_server,
)
from trioraft.rpc.interceptors import ServerCall
from trioraft.rpc.testing import MemoryListener

GRACE = 5


async def cut_off(service: Service, **options: Any) -> tuple[float, GRPCError]:
    """How long after the stop a chat ends, and how, for its caller."""
    listener = MemoryListener()
    ended: list[GRPCError] = []

    async def call(channel: Channel) -> None:
        with pytest.raises(GRPCError) as caught:
            async with channel.request(CHAT, Cardinality.STREAM_STREAM, Encoded, Encoded) as stream:
                await stream.send_request()
                async for _ in stream:
                    pass
        ended.append(caught.value)

    async with open_server([service], listeners=[listener], **options) as server:
        async with open_channel("memory", dial=listener.dial) as channel:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, channel)
                await trio.sleep(1)
                start = trio.current_time()
                nursery.start_soon(server.stop, GRACE)
            return trio.current_time() - start, ended[0]


@pytest.mark.parametrize("_", range(8))  # which task runs first is Trio's choice
async def test_a_handler_that_goes_on_sending_is_cancelled_and_not_blamed(
    _: int, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled: list[float] = []

    async def chatter(stream: Any) -> None:
        start = trio.current_time()
        try:
            while True:
                await stream.send_message(EchoReply())
                await trio.sleep(0.5)  # and so just as its time is up
        finally:
            cancelled.append(trio.current_time() - start)

    took, error = await cut_off(chat(chatter))
    assert error.status is Status.UNAVAILABLE
    assert "the server is stopping" in str(error.message)
    assert took == pytest.approx(GRACE, abs=0.3)
    assert cancelled == [pytest.approx(1 + GRACE, abs=0.001)]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_handler_that_has_something_to_say_yet_hears_why_it_cannot(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[GRPCError] = []

    async def shielded(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for say in (
                    stream.send_initial_metadata,
                    partial(stream.send_message, EchoReply()),
                    stream.send_trailing_metadata,
                ):
                    with pytest.raises(GRPCError) as caught:
                        await say()
                    heard.append(caught.value)

    _, error = await cut_off(chat(shielded))
    assert [each.status for each in heard] == [error.status] * 3
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_interceptors_see_the_status_that_the_caller_gets(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def watch(call: ServerCall) -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append(call.outcome)

    async def silent(stream: Any) -> None:
        await trio.sleep_forever()

    _, error = await cut_off(One(silent, Cardinality.STREAM_STREAM, CHAT), interceptors=[watch])
    assert [(each.status, each.message) for each in seen] == [(error.status, error.message)]
