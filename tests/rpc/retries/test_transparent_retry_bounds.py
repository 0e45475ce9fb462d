"""Streams that are opened again under a call that goes on: what is kept, what ends the wait."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from retry_kit import call
from scripted_server import Request, scripted

from trioraft.rpc import Cardinality, Encoded, GRPCError, Status


async def test_what_is_kept_is_bounded() -> None:
    """Beyond the limit the call goes on, but can no longer be opened again."""
    go = trio.Event()

    async def script(request: Request) -> None:
        await go.wait()
        await request.refuse()

    async with scripted(script) as (channel, server):
        async with call(channel, Cardinality.STREAM_UNARY) as stream:
            for _ in range(5):
                await stream.send_message(Encoded(bytes(60 * 1024)))
            assert not stream._replayable
            assert stream._more is None
            go.set()
            with pytest.raises(GRPCError, match="REFUSED_STREAM"):
                await stream.recv_message()
            await stream.cancel()
        assert len(server.requests) == 1


async def test_room_runs_out_while_the_stream_is_gone() -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await request.refuse()
        else:
            await request.ended.wait()
            await request.reply()

    async with scripted(script) as (channel, server):
        async with call(channel, Cardinality.STREAM_UNARY) as stream:
            await stream.send_request()
            while not stream._unseen:
                await trio.testing.wait_all_tasks_blocked()
            sent = 0
            with pytest.raises(trio.WouldBlock):
                while True:
                    stream.send_message_nowait(Encoded(bytes(60 * 1024)))
                    sent += 1
            await stream.wait_writable()  # opens the stream
            stream.send_message_nowait(Encoded(b"last"))
            await stream.end()
            assert await stream.recv_message() == b"ok"
        assert [len(each) for each in server.requests[1].messages] == [60 * 1024] * sent + [4]


async def test_cancelling_the_wait_for_another_stream_changes_nothing() -> None:
    release = trio.Event()

    async def script(request: Request) -> None:
        if request.number == 0:
            await request.leave()
        else:
            await request.ended.wait()
            await request.reply()

    async with scripted(script) as (channel, server):
        connection = channel.connection

        async def slow(*args: Any) -> Any:
            await release.wait()
            return await connection(*args)

        channel.connection = slow  # type: ignore[method-assign]
        async with call(channel, Cardinality.UNARY_UNARY) as stream:
            release.set()
            await stream.send_message(Encoded(b"one"), end=True)
            release = trio.Event()
            with trio.move_on_after(0.05) as scope:
                await stream.recv_message()
            assert scope.cancelled_caught
            release.set()
            with trio.fail_after(5):
                assert await stream.recv_message() == b"ok"
        assert len(server.requests) == 2


@pytest.mark.parametrize("how", ["cancel", "leave", "deadline"])
async def test_a_call_that_ends_while_it_waits_for_another_stream(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(request: Request) -> None:
        await request.leave()

    async with scripted(script) as (channel, server):
        await channel.connection()

        async def never(*args: Any) -> Any:
            await trio.sleep_forever()

        channel.connection = never  # type: ignore[method-assign]
        expects = {"deadline": Status.DEADLINE_EXCEEDED, "cancel": Status.CANCELLED}.get(how)
        seen: Status | None = None
        try:
            with trio.move_on_after(5) as scope:
                timeout = 1 if how == "deadline" else None
                async with call(channel, Cardinality.UNARY_UNARY, timeout=timeout) as stream:
                    async with trio.open_nursery() as nursery:
                        await stream.send_message(Encoded(b"one"), end=True)

                        async def end_it() -> None:
                            await trio.sleep(0.5)
                            if how == "cancel":
                                await stream.cancel()
                            elif how == "leave":
                                nursery.cancel_scope.cancel()

                        nursery.start_soon(end_it)
                        try:
                            await stream.recv_message()
                        except GRPCError as error:
                            seen = error.status
                    if how == "leave":
                        await stream.cancel()
        except GRPCError as error:
            seen = error.status
        assert not scope.cancelled_caught
        assert seen is expects
        assert len(server.requests) == 1
        assert stream._reopening is None
