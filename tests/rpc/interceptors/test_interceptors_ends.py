"""Interceptors and the ways a call ends early: cancellation, deadlines, replies of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, running, serving
from echo_trio import EchoBase, EchoStub
from intercepted_echo import ANSWERS, CALL, FLAVOURS, KINDS, Diary, service
from trio.testing import MockClock

from trioraft.rpc import (
    Cardinality,
    Channel,
    ClientCall,
    ClientInterceptor,
    Deadline,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    ProtocolError,
    ServerCall,
    ServerStream,
    Status,
    open_channel,
    serve,
)
from trioraft.rpc.testing import open_test_channel


class Waiting(EchoBase):
    """Answers nothing."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        await trio.sleep_forever()
        raise AssertionError

    async def Chat(self, requests: Any, replies: Any) -> None:
        await trio.sleep_forever()


async def abandoned(channel: Channel) -> None:
    """Make a call, and cancel it without a deadline."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(EchoStub(channel).Unary, EchoRequest())
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()


# ---- cancellation --------------------------------------------------------------------------------


async def test_a_caller_that_goes_away_cancels_handler_and_interceptors() -> None:
    diary = Diary()
    async with open_test_channel([Waiting()], interceptors=[diary.named("s")]) as channel:
        await abandoned(channel)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]
        [call] = diary.calls
        assert call.outcome is not None
        assert call.outcome.message == "the caller went away"


async def test_an_interceptor_that_waits_is_cancelled_too() -> None:
    diary = Diary()

    @asynccontextmanager
    async def waits(call: ServerCall) -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield

    async with open_test_channel(
        [service("trioraft")], interceptors=[diary.named("s"), waits]
    ) as channel:
        await abandoned(channel)
        await trio.testing.wait_all_tasks_blocked(0.01)
    assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]


async def test_a_cancelled_caller_leaves_its_interceptors() -> None:
    diary = Diary()
    async with open_test_channel([Waiting()], client_interceptors=[diary.named("c")]) as channel:
        for call in (EchoStub(channel).Unary(EchoRequest()), CALL["trioraft"](channel, "Chat")):
            diary.entries.clear()
            with trio.move_on_after(0.05) as scope:
                await call
            assert scope.cancelled_caught
            assert diary.entries == ["c in", "c Cancelled", "c CANCELLED"]


async def test_a_server_that_stops_leaves_its_interceptors() -> None:
    diary = Diary()
    async with trio.open_nursery() as nursery:
        serve_it = partial(serve, [Waiting()], port=0, interceptors=[diary.named("s")])
        [address] = await nursery.start(serve_it)
        async with open_channel(f"{address[0]}:{address[1]}") as channel:
            async with EchoStub(channel).Chat():
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert diary.entries == ["s in"]
                nursery.cancel_scope.cancel()
    assert diary.entries == ["s in", "s Cancelled", "s CANCELLED"]
    [call] = diary.calls
    assert call.outcome is not None
    assert call.outcome.message == "the connection has ended"


# ---- deadlines -----------------------------------------------------------------------------------


async def test_a_deadline_passes_inside_of_the_interceptors(autojump_clock: MockClock) -> None:
    diary = Diary()
    async with open_test_channel(
        [Waiting()], interceptors=[diary.named("s")], client_interceptors=[diary.named("c")]
    ) as channel:
        for _ in range(2):
            with pytest.raises(GRPCError) as caught:
                await EchoStub(channel).Unary(EchoRequest(), timeout=5)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
        await trio.sleep(1)
    assert [e for e in diary.entries if e[0] == "c"] == 2 * [
        *("c in", "c GRPCError", "c DEADLINE_EXCEEDED")
    ]
    server = [e for e in diary.entries if e[0] == "s"]
    assert server[:2] == ["s in", "s Cancelled"]
    assert server[2] in ("s DEADLINE_EXCEEDED", "s CANCELLED")  # whichever came first


async def test_the_servers_own_deadline(autojump_clock: MockClock) -> None:
    diary = Diary()

    @asynccontextmanager
    async def quick(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is None
        call.limit_time(2)
        yield

    async with open_test_channel([Waiting()], interceptors=[diary.named("s"), quick]) as channel:
        started = trio.current_time()
        with pytest.raises(GRPCError, match="within 2 s") as caught:
            await EchoStub(channel).Unary(EchoRequest())
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(2)
    assert diary.entries == ["s in", "s Cancelled", "s DEADLINE_EXCEEDED"]


@pytest.mark.parametrize("kind", ["Unary", "Chat"])
async def test_an_interceptor_sets_the_deadline(autojump_clock: MockClock, kind: str) -> None:
    seen: list[float] = []

    @asynccontextmanager
    async def patient(call: ClientCall) -> AsyncIterator[None]:
        if call.deadline is None:
            call.deadline = Deadline.from_timeout(7)
        yield

    @asynccontextmanager
    async def sees(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is not None
        seen.append(call.deadline.time_remaining())
        yield

    async with open_test_channel(
        [Waiting()], interceptors=[sees], client_interceptors=[patient]
    ) as channel:
        for timeout in (None, 3):
            with pytest.raises(GRPCError) as caught:
                await CALL["trioraft"](channel, kind, timeout=timeout)
            assert caught.value.status is Status.DEADLINE_EXCEEDED
    assert seen == [pytest.approx(7), pytest.approx(3)]


async def test_a_trio_deadline_of_an_interceptor_reaches_the_server(
    autojump_clock: MockClock,
) -> None:
    seen: list[float] = []

    @asynccontextmanager
    async def scoped(call: ClientCall) -> AsyncIterator[None]:
        with trio.fail_after(4):
            yield

    @asynccontextmanager
    async def sees(call: ServerCall) -> AsyncIterator[None]:
        assert call.deadline is not None
        seen.append(call.deadline.time_remaining())
        yield

    async with open_test_channel(
        [Waiting()], interceptors=[sees], client_interceptors=[scoped]
    ) as channel:
        with pytest.raises(trio.TooSlowError):
            await EchoStub(channel).Unary(EchoRequest())
    assert seen == [pytest.approx(4)]


async def test_the_deadline_holds_on_the_way_in(autojump_clock: MockClock) -> None:
    diary = Diary()

    @asynccontextmanager
    async def slow(call: ClientCall) -> AsyncIterator[None]:
        await trio.sleep(10)
        yield

    async with open_test_channel(
        [service("trioraft")], client_interceptors=[diary.named("c"), slow]
    ) as channel:
        started = trio.current_time()
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest(), timeout=3)
        assert caught.value.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() - started == pytest.approx(3)
        assert await EchoStub(channel).Unary(EchoRequest(payload=b"x"), timeout=11)
    assert diary.entries == ["c in", "c Cancelled", "c CANCELLED", "c in", "c OK"]


# ---- replies by interceptors ---------------------------------------------------------------------


class Cache:
    """Unary replies by their request's payload, on either end."""

    def __init__(self) -> None:
        self.replies: dict[bytes, EchoReply] = {}

    @asynccontextmanager
    async def server(self, call: ServerCall) -> AsyncIterator[None]:
        request = await call.request()
        assert request is await call.request()
        hit = self.replies.get(request.payload)
        if hit is not None:
            call.respond(hit)
        else:
            call.on_send(lambda reply: self.replies.update({request.payload: reply}))
        yield

    @asynccontextmanager
    async def client(self, call: ClientCall) -> AsyncIterator[None]:
        asked: list[bytes] = []

        def look(request: EchoRequest) -> None:
            asked.append(request.payload)
            if (hit := self.replies.get(request.payload)) is not None:
                call.respond(hit)

        call.on_send(look)
        call.on_receive(lambda reply: self.replies.update({asked[0]: reply}))
        yield


class Counting(EchoBase):
    """Counts its calls."""

    calls = 0

    async def Unary(self, request: EchoRequest) -> EchoReply:
        self.calls += 1
        return EchoReply(payload=request.payload, index=self.calls)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("end", ["server", "client"])
async def test_a_cache(end: str, flavour: str) -> None:
    diary, echo, cache = Diary(), Counting(), Cache()
    layers: list[Any] = [diary.named("outer"), getattr(cache, end), diary.named("inner")]
    options: Any = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([echo], **options) as channel:
        for _ in range(3):
            assert await CALL[flavour](channel, "Unary") == [b"ab"]
        await trio.testing.wait_all_tasks_blocked()
    assert echo.calls == 1
    assert cache.replies[b"ab"].index == 1
    first, hit = diary.entries[:4], diary.entries[4:6]
    assert first == ["outer in", "inner in", "inner OK", "outer OK"]
    # Inside a server's answer nothing is entered; a client only knows its request later.
    assert hit == (["outer in", "outer OK"] if end == "server" else ["outer in", "inner in"])


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("kind", ["Unary", "Collect"])
@pytest.mark.parametrize("end", ["server", "client"])
async def test_answered_before_anything_is_done(end: str, kind: str, flavour: str) -> None:
    diary = Diary()

    @asynccontextmanager
    async def answers(call: Any) -> AsyncIterator[None]:
        call.respond(EchoReply(payload=b"mine"))
        with pytest.raises(ProtocolError, match="answered already"):
            call.respond(EchoReply())
        yield
        assert call.outcome.ok

    layers = [diary.named("outer"), answers, diary.named("inner")]
    options: Any = {"interceptors" if end == "server" else "client_interceptors": layers}
    async with open_test_channel([EchoBase()], **options) as channel:
        assert await CALL[flavour](channel, kind) == [b"mine"]
        await trio.testing.wait_all_tasks_blocked()
    assert diary.entries == ["outer in", "outer OK"]
    if end == "client":
        [call] = diary.calls
        assert isinstance(call, ClientCall)
        assert call.peer is None  # nothing was sent, and nobody was connected to
        assert call.initial_metadata == call.trailing_metadata == {}


async def test_only_single_replies_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def answers(call: Any) -> AsyncIterator[None]:
        call.respond(EchoReply())
        yield

    async with open_test_channel([service("trioraft")], client_interceptors=[answers]) as channel:
        for kind in ("Expand", "Chat"):
            with pytest.raises(ProtocolError, match="one reply"):
                await CALL["trioraft"](channel, kind)
    async with open_test_channel([service("trioraft")], interceptors=[answers]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await CALL["trioraft"](channel, "Expand")
    assert "an interceptor can only answer a call with one reply" in caplog.text


async def test_too_late_to_answer() -> None:
    @asynccontextmanager
    async def late(call: ClientCall) -> AsyncIterator[None]:
        yield
        call.respond(EchoReply())

    async with open_test_channel([service("trioraft")], client_interceptors=[late]) as channel:
        with pytest.raises(ProtocolError, match="was sent already"):
            await CALL["trioraft"](channel, "Unary")


async def test_a_wrong_answer_is_the_servers_failure(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def answers(call: ServerCall) -> AsyncIterator[None]:
        call.respond("no message")
        yield

    async with open_test_channel([service("trioraft")], interceptors=[answers]) as channel:
        with pytest.raises(GRPCError, match="Internal Server Error"):
            await CALL["trioraft"](channel, "Unary")
    assert "this call sends EchoReply, not str" in caplog.text


# ---- looking at the request ----------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_request_is_looked_at_and_changed(flavour: str) -> None:
    @asynccontextmanager
    async def changes(call: ServerCall) -> AsyncIterator[None]:
        if call.cardinality.client_streaming:
            with pytest.raises(ProtocolError, match="streams its requests"):
                await call.request()
        else:
            (await call.request()).payload += b"!"
        yield

    async with open_test_channel([service(flavour)], interceptors=[changes]) as channel:
        assert await CALL[flavour](channel, "Unary", timeout=5) == [b"ab!"]
        assert await CALL[flavour](channel, "Expand", timeout=5) == [b"ab!", b"ab!"]
        assert await CALL[flavour](channel, "Chat") == ANSWERS["Chat"]


async def test_only_the_first_message_is_what_was_looked_at() -> None:
    async def handle(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        payloads = [request.payload async for request in stream]
        await stream.send_message(EchoReply(payload=b"+".join(payloads)))

    class Two:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    @asynccontextmanager
    async def looks(call: ServerCall) -> AsyncIterator[None]:
        assert (await call.request()).payload == b"a"
        yield
        assert (await call.request()).payload == b"a"

    @asynccontextmanager
    async def looks_late(call: ServerCall) -> AsyncIterator[None]:
        yield
        with pytest.raises(ProtocolError, match="has taken"):
            await call.request()

    for interceptor in (looks, looks_late):
        async with open_test_channel([Two()], interceptors=[interceptor]) as channel:
            async with channel.request(
                UNARY, Cardinality.STREAM_UNARY, EchoRequest, EchoReply
            ) as call:
                await call.send_message(EchoRequest(payload=b"a"))
                await call.send_message(EchoRequest(payload=b"b"), end=True)
                assert (await call.recv_message()).payload == b"a+b"


async def test_a_request_that_does_not_come_or_decode(caplog: pytest.LogCaptureFixture) -> None:
    @asynccontextmanager
    async def looks(call: ServerCall) -> AsyncIterator[None]:
        await call.request()
        yield

    class Bytes:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def SerializeToString(self) -> bytes:
            return self.data

    async with open_test_channel([service("trioraft")], interceptors=[looks]) as channel:
        with pytest.raises(GRPCError, match="without a request"):
            async with channel.request(
                UNARY, Cardinality.STREAM_UNARY, EchoRequest, EchoReply
            ) as call:
                await call.send_request(end=True)
        with pytest.raises(GRPCError, match="cannot decode EchoRequest"):
            async with channel.request(UNARY, Cardinality.UNARY_UNARY, Bytes, EchoReply) as call:
                await call.send_message(Bytes(b"\xff"))


# ---- statuses that handlers send by themselves, and calls in place -------------------------------


async def test_the_status_that_a_handler_has_sent() -> None:
    async def handle(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        await stream.send_trailing_metadata(status=Status.DATA_LOSS, status_message="gone")

    class Losing:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    outcomes = []

    @asynccontextmanager
    async def late(call: ServerCall) -> AsyncIterator[None]:
        yield
        outcomes.append(call.outcome)
        raise GRPCError(Status.ABORTED, "too late")

    async with open_test_channel([Losing()], interceptors=[late]) as channel:
        with pytest.raises(GRPCError, match="gone") as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.DATA_LOSS
    [outcome] = outcomes
    assert outcome is not None
    assert (outcome.status, outcome.message, outcome.ok) == (Status.DATA_LOSS, "gone", False)


async def test_no_reply_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(stream: object) -> None:
        pass

    class Silent:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: Handler(handle, Cardinality.UNARY_UNARY, EchoRequest, EchoReply)}

    diary = Diary()
    async with open_test_channel([Silent()], interceptors=[diary.named("s")]) as channel:
        with pytest.raises(GRPCError):
            await EchoStub(channel).Unary(EchoRequest())
    assert diary.entries == ["s in", "s UNKNOWN"]


async def test_calls_with_interceptors_are_not_tried_in_place() -> None:
    async def func(stream: ServerStream[EchoReply, EchoRequest]) -> None:
        await stream.recv_message()
        await stream.send_message(EchoReply(payload=b"task"))

    def in_place(call: InPlaceCall[EchoReply, EchoRequest], request: EchoRequest) -> bool:
        call.respond(EchoReply(payload=b"in place"))
        return True

    class Quick:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: InPlaceHandler(func, EchoRequest, EchoReply, in_place)}

    diary = Diary()
    for interceptors, expected in (((), b"in place"), ((diary.named("s"),), b"task")):
        async with open_test_channel([Quick()], interceptors=interceptors) as channel:
            reply = await EchoStub(channel).Unary(EchoRequest())
            assert reply.payload == expected
    assert diary.entries == ["s in", "s OK"]


# ---- over sockets --------------------------------------------------------------------------------


async def test_peers_over_sockets() -> None:
    peers: list[str] = []

    @asynccontextmanager
    async def sees(call: Any) -> AsyncIterator[None]:
        yield
        peers.append(str(call.peer))

    async with (
        serving([service("trioraft")], interceptors=[sees]) as address,
        open_channel(address, interceptors=[sees]) as channel,
    ):
        for kind in KINDS:
            assert await CALL["trioraft"](channel, kind) == ANSWERS[kind]
    assert len(peers) == 8
    assert peers.count(address) == 4
    assert all(peer.startswith("127.0.0.1:") for peer in peers)


async def test_a_call_that_finds_no_server() -> None:
    diary = Diary()
    async with running([service("trioraft")]) as channel:
        dead = channel.target
    layers: list[ClientInterceptor] = [diary.named("c")]
    async with open_channel(dead, interceptors=layers) as channel:
        with pytest.raises(GRPCError) as caught:
            await EchoStub(channel).Unary(EchoRequest())
    assert caught.value.status is Status.UNAVAILABLE
    assert diary.entries == ["c in", "c GRPCError", "c UNAVAILABLE"]
