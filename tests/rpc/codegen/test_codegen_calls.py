"""Generated code at work: unary calls, over the in-memory channel."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trioraft.rpc import Deadline, GRPCError, ReplyMetadata, Status, current_call
from trioraft.rpc.testing import open_test_channel


async def test_unary(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        assert (await calls.CallsStub(channel).Upper(text(text="a"))).text == "A"


async def test_unary_fails_with_the_status_that_the_handler_raises(
    calls: Any, text: Any, service: Any
) -> None:
    received = ReplyMetadata()
    async with open_test_channel([service]) as channel:
        with pytest.raises(GRPCError, match="no such thing") as caught:
            await calls.CallsStub(channel).Upper(text(text="fail"), received=received)
    assert caught.value.status is Status.NOT_FOUND
    assert received.trailing is not None
    assert received.trailing["reason"] == "asked"


async def test_a_handler_that_returns_no_reply_is_a_bug(
    calls: Any, text: Any, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_test_channel([service]) as channel:
        with caplog.at_level(logging.ERROR), pytest.raises(GRPCError) as caught:
            await calls.CallsStub(channel).Upper(text(text="nothing"))
        assert caught.value.status is Status.UNKNOWN
        assert "sends Text, not NoneType" in caplog.text
        assert (await calls.CallsStub(channel).Upper(text(text="a"))).text == "A"


async def test_a_method_that_is_left_out_is_unimplemented(
    calls: Any, text: Any, service: Any
) -> None:
    async with open_test_channel([service]) as channel:
        with pytest.raises(GRPCError, match=r"/calls.Calls/Missing") as caught:
            await calls.CallsStub(channel).Missing(text())
    assert caught.value.status is Status.UNIMPLEMENTED


async def test_metadata_goes_both_ways(calls: Any, text: Any) -> None:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Upper(self, request: Any) -> Any:
            call = current_call()
            await call.send_initial_metadata(metadata={"early": "1"})
            call.set_trailing_metadata({"late": "2"})
            assert call.method_name == "/calls.Calls/Upper"
            return text(text=str(call.metadata["who"]))

    received = ReplyMetadata()
    async with open_test_channel([Calls()]) as channel:
        stub = calls.CallsStub(channel)
        reply = await stub.Upper(text(), metadata={"who": "ada"}, received=received)
    assert reply.text == "ada"
    assert received.initial is not None
    assert received.trailing is not None
    assert (received.initial["early"], received.trailing["late"]) == ("1", "2")


async def test_the_current_call_is_known_in_child_tasks_and_nowhere_else(
    calls: Any, text: Any
) -> None:
    seen = []

    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Upper(self, request: Any) -> Any:
            async def child() -> None:
                seen.append(current_call().metadata["n"])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
            return request

    async with open_test_channel([Calls()]) as channel:
        stub = calls.CallsStub(channel)
        for number in ("1", "2"):
            await stub.Upper(text(), metadata={"n": number})
        with pytest.raises(RuntimeError, match="no handler"):
            current_call()
    assert seen == ["1", "2"]


@pytest.mark.parametrize("kind", ["timeout", "deadline", "scope"])
async def test_deadlines_cancel_the_handler(
    calls: Any, text: Any, service: Any, kind: str, autojump_clock: MockClock
) -> None:
    async with open_test_channel([service]) as channel:
        stub = calls.CallsStub(channel)
        started = trio.current_time()
        if kind == "scope":
            with trio.move_on_after(60) as scope:
                await stub.Upper(text(text="wait"))
            assert scope.cancelled_caught
        else:
            option = {"timeout": 60} if kind == "timeout" else {"deadline": Deadline(started + 60)}
            with pytest.raises(GRPCError) as caught:
                await stub.Upper(text(text="wait"), **option)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(60, abs=0.01)
        await service.stopped.wait()
    assert service.cancelled == 1


async def test_a_deprecated_method_warns_its_caller(calls: Any, text: Any, service: Any) -> None:
    async with open_test_channel([service]) as channel:
        with pytest.warns(DeprecationWarning, match=r"/calls.Calls/Former is deprecated") as caught:
            assert (await calls.CallsStub(channel).Former(text(text="a"))).text == "a"
    assert caught[0].filename == __file__


async def test_a_deprecated_service_warns_whoever_makes_a_stub(generated: Path) -> None:
    orders = importlib.import_module("shop.orders_trio")
    async with open_test_channel([orders.OldBase()]) as channel:
        with pytest.warns(DeprecationWarning, match=r"shop.Old is deprecated") as caught:
            orders.OldStub(channel)
    assert caught[0].filename == __file__
