"""Calls that are answered without a task, and what becomes of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, in_memory, running
from trio.testing import MockClock

from trioraft.rpc import (
    Cardinality,
    Encoded,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    Limited,
    Limits,
    ServerStream,
    Status,
)

Call = InPlaceCall[Any, Any]


class Direct:
    """Echo/Unary, tried by `attempt` first; `handled` counts the calls that its handler ran."""

    def __init__(self, attempt: Callable[[Call, EchoRequest], bool]) -> None:
        self._attempt = attempt
        self.handled = 0

    async def _unary(self, stream: ServerStream[Any, Any]) -> None:
        self.handled += 1
        request = await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"handled " + request.payload))

    def __mapping__(self) -> dict[str, Handler]:
        return {UNARY: InPlaceHandler(self._unary, EchoRequest, EchoReply, self._attempt)}


def at_once(call: Call, request: EchoRequest) -> bool:
    if request.payload == b"not me":
        return False
    if request.payload == b"broken":
        raise RuntimeError("a bug")
    if request.payload == b"refused":
        call.fail(GRPCError(Status.NOT_FOUND, "no such thing"))
        return True
    call.respond(EchoReply(payload=request.payload))
    return True


async def test_answered_where_it_is_read() -> None:
    service = Direct(at_once)
    async with running([service]) as channel:
        stub = EchoStub(channel)
        for payload in (b"", b"x", bytes(300_000)):
            reply = await stub.Unary(EchoRequest(payload=payload))
            assert reply.payload == payload
    assert service.handled == 0


async def test_what_it_does_not_take_is_its_handlers() -> None:
    service = Direct(at_once)
    async with running([service]) as channel:
        reply = await EchoStub(channel).Unary(EchoRequest(payload=b"not me"), timeout=5)
        assert reply.payload == b"handled not me"
    assert service.handled == 1


@pytest.mark.parametrize(
    ("payload", "status"), [(b"refused", Status.NOT_FOUND), (b"broken", Status.UNKNOWN)]
)
async def test_failures_are_the_calls_own(
    payload: bytes, status: Status, caplog: pytest.LogCaptureFixture
) -> None:
    async with running([Direct(at_once)]) as channel:
        stub = EchoStub(channel)
        with pytest.raises(GRPCError) as caught:
            await stub.Unary(EchoRequest(payload=payload))
        assert caught.value.status is status
        assert (await stub.Unary(EchoRequest(payload=b"y"))).payload == b"y"


class Held(Direct):
    """Takes every call over and leaves the answers to the test."""

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.calls: list[tuple[Call, EchoRequest]] = []

    def _hold(self, call: Call, request: EchoRequest) -> bool:
        call.limit_time(30, GRPCError(Status.UNAVAILABLE, "took too long"))
        self.calls.append((call, request))
        return True


async def asked(nursery: trio.Nursery, service: Held, call: Callable[[], Any]) -> list[Any]:
    """Start a call and wait until the service holds it; its outcome comes into the list."""
    outcomes: list[Any] = []

    async def run() -> None:
        try:
            outcomes.append(await call())
        except GRPCError as error:
            outcomes.append(error.status)

    before = len(service.calls)
    nursery.start_soon(run)
    with trio.fail_after(5):
        while len(service.calls) == before:
            await trio.lowlevel.checkpoint()
    return outcomes


async def test_answers_of_one_stretch_leave_in_one_send_and_in_any_order() -> None:
    service = Held()
    async with in_memory([service]) as (channel, network), trio.open_nursery() as nursery:
        stub = EchoStub(channel)
        outcomes = [
            await asked(nursery, service, lambda p=p: stub.Unary(EchoRequest(payload=p)))
            for p in (b"1", b"2", b"3")
        ]
        before = len(network.server_ends[0].sends)
        for call, request in reversed(service.calls):
            call.respond(EchoReply(payload=request.payload))
            call.respond(EchoReply(payload=b"once only"))
        call.flush()
        await trio.testing.wait_all_tasks_blocked()
        assert len(network.server_ends[0].sends) == before + 1
        assert [[reply.payload for reply in replies] for replies in outcomes] == [
            [b"1"], [b"2"], [b"3"],
        ]  # fmt: skip


async def test_given_back_to_the_handler_later() -> None:
    service = Held()
    async with running([service]) as channel, trio.open_nursery() as nursery:
        stub = EchoStub(channel)
        replies = await asked(nursery, service, lambda: stub.Unary(EchoRequest(payload=b"a")))
        service.calls[0][0].run_handler()
        with trio.fail_after(5):
            while not replies:
                await trio.lowlevel.checkpoint()
        assert replies[0].payload == b"handled a"


async def test_nobody_waits_for_ever(autojump_clock: MockClock) -> None:
    """The server's own bound, or the caller's deadline: the first of them counts."""
    service = Held()
    async with in_memory([service]) as (channel, _), trio.open_nursery() as nursery:
        started = trio.current_time()
        outcomes = await asked(nursery, service, lambda: EchoStub(channel).Unary(EchoRequest()))
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.UNAVAILABLE
        assert 30 <= trio.current_time() - started <= 30.5
        await trio.testing.wait_all_tasks_blocked()
        assert outcomes == [Status.UNAVAILABLE]
        for held, _ in service.calls:
            held.respond(EchoReply(payload=b"too late"))
        # The caller enforces its deadline too; the server must have let go by itself.
        outcomes = await asked(
            nursery, service, lambda: EchoStub(channel).Unary(EchoRequest(), timeout=3)
        )
        await trio.sleep(4)
        assert outcomes == [Status.DEADLINE_EXCEEDED]
        assert not service.calls[-1][0]._connection.overdue._calls


async def test_a_caller_that_goes_away_is_forgotten() -> None:
    service = Held()
    async with running([service]) as channel, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(trio.sleep, 0)

            async def cancel() -> None:
                while not service.calls:
                    await trio.sleep(0.01)
                scope.cancel()

            nursery.start_soon(cancel)
            await EchoStub(channel).Unary(EchoRequest())
        call = service.calls[0][0]
        with trio.fail_after(5):
            while call._connection.overdue._calls:
                await trio.sleep(0.01)
        call.respond(EchoReply(payload=b"nobody hears it"))
        call.run_handler()
    assert service.handled == 0


async def test_a_reply_over_the_limit_is_a_status() -> None:
    def large(call: Call, request: EchoRequest) -> bool:
        call.respond(EchoReply(payload=bytes(2000)))
        return True

    async with running([Direct(large)], limits=Limits(max_send_message=1000)) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.RESOURCE_EXHAUSTED


async def test_a_service_can_have_a_limit_of_its_own() -> None:
    path = "/trioraft.testing.Other/Unary"

    class Other(Direct):
        def __mapping__(self) -> dict[str, Handler]:
            return {path: super().__mapping__()[UNARY]}

    limits = Limits(max_receive_message=1000)
    services = [Direct(at_once), Limited(Other(at_once), 5000)]
    large = EchoRequest(payload=bytes(3000))
    async with running(services, limits=limits) as channel:
        async with channel.request(path, Cardinality.UNARY_UNARY, EchoRequest, Encoded) as stream:
            await stream.send_message(large)
            assert await stream.recv_message()
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(large)
    assert caught.value.status is Status.RESOURCE_EXHAUSTED
    with pytest.raises(ValueError, match="max_receive_message"):
        Limited(Other(at_once), -1)
