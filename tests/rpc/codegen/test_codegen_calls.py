"""Generated code at work: every kind of call, over the in-memory channel."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trioraft.rpc import Deadline, GRPCError, ProtocolError, ReplyMetadata, Status, current_call
from trioraft.rpc.testing import open_test_channel


@pytest.fixture
def calls(generated: Path) -> Any:
    return importlib.import_module("calls_trio")


@pytest.fixture
def text(generated: Path) -> Any:
    return importlib.import_module("calls_pb2").Text


@pytest.fixture
def service(calls: Any, text: Any) -> Any:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        def __init__(self) -> None:
            self.cancelled = 0
            self.heard: list[str] = []
            self.stopped = trio.Event()

        @asynccontextmanager
        async def noting_cancellation(self) -> AsyncIterator[None]:
            """A caller that goes away ends `receive` by a status, all other waiting by Trio."""
            try:
                yield
            except (trio.Cancelled, GRPCError) as error:
                if isinstance(error, trio.Cancelled) or error.status is Status.CANCELLED:
                    self.cancelled += 1
                    self.stopped.set()
                raise

        async def Upper(self, request: Any) -> Any:
            if request.text == "fail":
                current_call().set_trailing_metadata({"reason": "asked"})
                raise GRPCError(Status.NOT_FOUND, "no such thing")
            if request.text == "nothing":
                return None
            if request.text == "wait":
                async with self.noting_cancellation():
                    await trio.sleep_forever()
            return text(text=request.text.upper())

        async def Spell(self, request: Any, replies: trio.abc.SendChannel[Any]) -> None:
            async with self.noting_cancellation():
                for letter in request.text:
                    await replies.send(text(text=letter))
                if request.text == "abc":
                    return
                if request.text == "ab!":
                    raise GRPCError(Status.ABORTED, "lost the thread")
                await trio.sleep_forever()

        async def Join(self, requests: trio.abc.ReceiveChannel[Any]) -> Any:
            async with self.noting_cancellation():
                async for request in requests:
                    self.heard.append(request.text)
                    if request.text == "enough":
                        break
                return text(text=" ".join(self.heard))

        async def Echo(
            self, requests: trio.abc.ReceiveChannel[Any], replies: trio.abc.SendChannel[Any]
        ) -> None:
            async with self.noting_cancellation():
                async for request in requests:
                    await replies.send(request)
                await replies.send(text(text="bye"))

        async def Former(self, request: Any) -> Any:
            return request

    return Calls()


# ---- unary ---------------------------------------------------------------------------------------


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


# ---- replies that stream -------------------------------------------------------------------------


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


# ---- requests that stream ------------------------------------------------------------------------


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


# ---- both ----------------------------------------------------------------------------------------


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


# ---- what handlers can do with their channels ----------------------------------------------------


async def test_handlers_run_on_trios_own_channels(text: Any, service: Any) -> None:
    """So they can be tested without any RPC."""
    give, requests = trio.open_memory_channel[Any](10)
    replies, take = trio.open_memory_channel[Any](10)
    async with give:
        await give.send(text(text="a"))
    await service.Echo(requests, replies)
    replies.close()
    assert [reply.text async for reply in take] == ["a", "bye"]


async def test_a_handler_closes_its_channels(calls: Any, text: Any) -> None:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Echo(self, requests: Any, replies: Any) -> None:
            async with replies, requests:
                await replies.send(await requests.receive())
            for use in (requests.receive, requests.__aiter__, partial_send(replies)):
                with pytest.raises(trio.ClosedResourceError):
                    await use()
            raise GRPCError(Status.DATA_LOSS, "closing replies decides nothing")

    def partial_send(replies: Any) -> Any:
        return lambda: replies.send(text())

    async with open_test_channel([Calls()]) as channel:
        async with calls.CallsStub(channel).Echo() as (requests, replies):
            await requests.send(text(text="a"))
            assert (await replies.receive()).text == "a"
            with pytest.raises(GRPCError) as caught:
                await replies.receive()
    assert caught.value.status is Status.DATA_LOSS


async def test_a_handler_sees_the_requests_end(calls: Any, text: Any) -> None:
    class Calls(calls.CallsBase):  # type: ignore[misc]
        async def Join(self, requests: Any) -> Any:
            first = await requests.receive()
            with pytest.raises(trio.EndOfChannel):
                await requests.receive()
            return first

    async with open_test_channel([Calls()]) as channel:
        async with calls.CallsStub(channel).Join() as upload:
            await upload.send(text(text="a"))
            assert (await upload.reply()).text == "a"


# ---- with grpclib's generated code ---------------------------------------------------------------


async def test_both_plugins_mix(calls: Any, text: Any, service: Any) -> None:
    """A service by one plugin is called by a stub of the other, on one server and channel."""
    old = importlib.import_module("calls_grpc")
    echo = importlib.import_module("echo_service").Echo()
    echo_grpc, echo_pb2 = importlib.import_module("echo_grpc"), importlib.import_module("echo_pb2")
    async with open_test_channel([service, echo]) as channel:
        stub = old.CallsStub(channel)
        assert (await stub.Upper(text(text="a"))).text == "A"
        assert [reply.text for reply in await stub.Spell(text(text="abc"))] == ["a", "b", "c"]
        assert (await stub.Join([text(text="a")])).text == "a"
        reply = await echo_grpc.EchoStub(channel).Unary(echo_pb2.EchoRequest(payload=b"a"))
        assert reply.payload == b"a"


async def test_a_handler_of_grpclib_has_no_current_call(calls: Any, text: Any) -> None:
    old = importlib.import_module("calls_grpc")

    class Calls(old.CallsBase):  # type: ignore[misc]
        async def Upper(self, stream: Any) -> None:
            with pytest.raises(RuntimeError, match="no handler"):
                current_call()
            await stream.send_message(await stream.recv_message())

        Spell = Join = Echo = Missing = Former = Upper

    async with open_test_channel([Calls()]) as channel:
        assert (await calls.CallsStub(channel).Upper(text(text="a"))).text == "a"
