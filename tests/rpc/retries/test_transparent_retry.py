"""Streams that no server has looked at are opened again, and the application never knows."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from retry_kit import KINDS, call, converse
from scripted_server import Request, scripted

from trioraft.rpc import Cardinality, ClientStream, Encoded, GRPCError, Status


def expected(kind: Cardinality) -> list[bytes]:
    return [b"one", b"two"] if kind.client_streaming else [b"one"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("how", ["reset", "goaway"])
@pytest.mark.parametrize("tcp", [False, True])
async def test_a_refused_stream_is_opened_again(kind: Cardinality, how: str, tcp: bool) -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await (request.refuse() if how == "reset" else request.leave())
        else:
            await request.ended.wait()
            await request.reply()

    async with scripted(script, tcp=tcp) as (channel, server):
        with trio.fail_after(5):
            assert await converse(channel, kind) == [b"ok"]
        assert server.requests[1].messages == expected(kind)
        assert len(server.requests) == 2
        # GOAWAY means another connection; RST_STREAM does not.
        assert server.requests[1].connection.number == (how == "goaway")


async def test_a_second_refusal_is_the_callers(autojump_clock: trio.testing.MockClock) -> None:
    async def script(request: Request) -> None:
        await request.refuse()

    async with scripted(script) as (channel, server):
        with pytest.raises(GRPCError, match="REFUSED_STREAM") as caught:
            await converse(channel, Cardinality.UNARY_UNARY)
        assert caught.value.status is Status.UNAVAILABLE
        assert len(server.requests) == 2


@pytest.mark.parametrize("code", [0x2, 0x8, 0xB])
async def test_other_resets_are_not_repeated(code: int) -> None:
    async def script(request: Request) -> None:
        await request.reset(code)

    async with scripted(script) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel, Cardinality.UNARY_UNARY)
        assert len(server.requests) == 1


async def test_after_the_response_has_begun_nothing_is_repeated() -> None:
    async def script(request: Request) -> None:
        await request.headers_only()
        await request.refuse()

    async with scripted(script) as (channel, server):
        with pytest.raises(GRPCError):
            await converse(channel, Cardinality.STREAM_STREAM)
        assert len(server.requests) == 1


async def test_what_the_server_may_have_seen_is_not_repeated() -> None:
    """The connection is lost after the request has left: nobody knows."""

    async def script(request: Request) -> None:
        await request.connection.stream.aclose()

    async with scripted(script) as (channel, server):
        with pytest.raises(GRPCError) as caught:
            await converse(channel, Cardinality.UNARY_UNARY)
        assert caught.value.status is Status.UNAVAILABLE
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_what_never_left_is_repeated_as_often_as_it_takes(kind: Cardinality) -> None:
    """The connection ends in the pass in which the call is made, three times over."""
    losses = 0

    async def script(request: Request) -> None:
        await request.ended.wait()
        await request.reply()

    async with scripted(script) as (channel, server):
        original = ClientStream._put

        def put_and_lose(self: Any, *args: Any, **options: Any) -> None:
            nonlocal losses
            original(self, *args, **options)
            if losses < 3:
                losses += 1
                self._connection._lost(GRPCError(Status.UNAVAILABLE, "lost in this very pass"))
                self._connection.engine.terminate_connection()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ClientStream, "_put", put_and_lose)
            with trio.fail_after(5):
                assert await converse(channel, kind) == [b"ok"]
        assert losses == 3
        assert len(server.requests) == 1
        assert server.requests[-1].messages == expected(kind)


async def test_a_request_that_meets_goaway_in_the_engine_goes_elsewhere() -> None:
    async def script(request: Request) -> None:
        await request.ended.wait()
        await request.reply()

    async with scripted(script) as (channel, server):
        await converse(channel, Cardinality.UNARY_UNARY)
        first = server.connections[0]
        first.engine.send_goaway(last_stream_id=1)
        async with call(channel, Cardinality.UNARY_UNARY) as stream:
            await first.flush()  # on its way, while the request is made
            await stream.send_message(Encoded(b"one"), end=True)
            assert await stream.recv_message() == b"ok"
        assert server.requests[-1].connection.number == 1


async def test_messages_that_are_sent_meanwhile_follow_in_order() -> None:
    """A stream is refused while the application goes on sending without waiting."""

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
            for index in range(5):
                stream.send_message_nowait(Encoded(b"%d" % index))
            await stream.end()
            assert await stream.recv_message() == b"ok"
        assert server.requests[1].messages == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_sender_opens_the_stream_again_when_nobody_receives() -> None:
    async def script(request: Request) -> None:
        if request.number == 0:
            await request.refuse()

    async with scripted(script) as (channel, server):
        async with call(channel, Cardinality.STREAM_STREAM) as stream:
            await stream.send_message(Encoded(b"one"))
            while not stream._unseen:
                await trio.testing.wait_all_tasks_blocked()
            await stream.send_message(Encoded(b"two"))
            with trio.fail_after(5):
                while len(server.requests) < 2 or len(server.requests[1].messages) < 2:
                    await trio.testing.wait_all_tasks_blocked()
            assert server.requests[1].messages == [b"one", b"two"]
            await stream.cancel()
