"""Generated code at work: requests and replies that stream."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trioraft.rpc import GRPCError, ProtocolError, Status
from trioraft.rpc.testing import open_test_channel


async def test_server_streaming(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Spell(text(text="abc")) as replies:
            assert (await replies.receive()).text == "a"
            assert [reply.text async for reply in replies] == ["b", "c"]
            with pytest.raises(trio.EndOfChannel):
                await replies.receive()
            assert replies.initial_metadata is not None
            assert replies.trailing_metadata is not None
    assert service.cancelled == 0


async def test_a_failed_stream_does_not_look_like_one_that_ended(
    calls: Any, text: Any, service: Any
) -> None:
    taken = []
    async with open_test_channel([service]) as channel:
        with pytest.raises(GRPCError, match="lost the thread"):
            async with calls.CallsStub(channel).Spell(text(text="ab!")) as replies:
                async for reply in replies:
                    taken.append(reply.text)  # noqa: PERF401
    assert taken == ["a", "b", "!"]


async def test_leaving_early_cancels_and_never_waits(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Spell(text(text="abcd")) as replies:
            async for _ in replies:
                break
        with trio.fail_after(5):
            await service.stopped.wait()
    assert service.cancelled == 1


async def test_a_failure_that_nobody_came_to_see_is_not_raised(
    calls: Any, text: Any, service: Any
) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Spell(text(text="ab!")) as replies:
            await replies.receive()
            await trio.testing.wait_all_tasks_blocked()  # the bad status is here by now


async def test_closing_replies_cancels_the_call(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Spell(text(text="abcd")) as replies:
            async with replies:
                await replies.receive()
            with trio.fail_after(5):
                await service.stopped.wait()
            with pytest.raises(trio.ClosedResourceError):
                await replies.receive()
            with pytest.raises(trio.ClosedResourceError):
                async for _ in replies:
                    pass


async def test_an_exception_leaves_the_block_as_it_is(calls: Any, text: Any, service: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_test_channel([service]) as channel:
            try:
                async with calls.CallsStub(channel).Spell(text(text="abcd")) as replies:
                    await replies.receive()
                    raise ZeroDivisionError
            finally:
                with trio.fail_after(5):
                    await service.stopped.wait()


async def test_the_deadline_of_a_block(
    calls: Any, text: Any, service: Any, autojump_clock: MockClock
) -> None:
    async with open_test_channel([service]) as channel:
        with pytest.raises(GRPCError) as caught:
            async with calls.CallsStub(channel).Spell(text(text="abcd"), timeout=3) as replies:
                async for _ in replies:
                    pass
    assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_client_streaming(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Join() as upload:
            for word in ("a", "b"):
                await upload.send(text(text=word))
            assert (await upload.reply()).text == "a b"
            assert (await upload.reply()).text == "a b"
            assert upload.initial_metadata is not None
            assert upload.trailing_metadata is not None
            with pytest.raises(trio.ClosedResourceError):
                await upload.send(text())
    assert service.cancelled == 0


async def test_without_asking_for_the_reply_the_upload_is_cancelled(
    calls: Any, text: Any, service: Any
) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Join() as upload:
            await upload.send(text(text="a"))
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await service.stopped.wait()
    assert service.heard == ["a"]


async def test_the_reply_may_come_before_the_requests_end(
    calls: Any, text: Any, service: Any
) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Join() as upload:
            await upload.send(text(text="enough"))
            await trio.testing.wait_all_tasks_blocked()
            await upload.send(text(text="dropped: the call has ended with OK"))
            assert (await upload.reply()).text == "enough"


async def test_a_broken_upload_never_looks_complete(calls: Any, text: Any, service: Any) -> None:
    """The server must see a cancellation, not the end of the requests."""
    async with open_test_channel([service]) as channel:
        with pytest.raises(ZeroDivisionError):
            async with calls.CallsStub(channel).Echo() as (requests, _):
                async with requests:
                    await requests.send(text(text="a"))
                    await trio.testing.wait_all_tasks_blocked()
                    raise ZeroDivisionError
        with trio.fail_after(5):
            await service.stopped.wait()
    assert service.cancelled == 1


async def test_bidirectional(calls: Any, text: Any, service: Any) -> None:
    async def speak(requests: trio.abc.SendChannel[Any]) -> None:
        async with requests:
            for word in ("a", "b"):
                await requests.send(text(text=word))

    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Echo() as (requests, replies):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(speak, requests)
                assert [reply.text async for reply in replies] == ["a", "b", "bye"]
            with pytest.raises(trio.ClosedResourceError):
                await requests.send(text())
            await requests.aclose()
    assert service.cancelled == 0


async def test_ping_pong(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Echo() as (requests, replies):
            for word in ("a", "b"):
                await requests.send(text(text=word))
                assert (await replies.receive()).text == word
        with trio.fail_after(5):
            await service.stopped.wait()


async def test_cancelling_a_call_by_hand(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        async with calls.CallsStub(channel).Echo() as (requests, replies):
            await trio.testing.wait_all_tasks_blocked()
            await replies.stream.cancel()
            with pytest.raises(ProtocolError):
                await requests.send(text())
        with trio.fail_after(5):
            await service.stopped.wait()


async def test_a_slow_reader_stops_the_writer(calls: Any, text: Any) -> None:
    sent = 0

    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Spell(self, request: Any, replies: trio.abc.SendChannel[Any]) -> None:
            nonlocal sent
            for _ in range(100):
                await replies.send(text(text="x" * 100_000))
                sent += 1

    async with open_test_channel([Calls()]) as channel:
        async with calls.CallsStub(channel).Spell(text()) as replies:
            await trio.testing.wait_all_tasks_blocked()
            assert 1 <= sent < 20
            assert len([reply async for reply in replies]) == 100
