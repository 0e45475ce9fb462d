"""What a call keeps of itself. Up to 30 attributes CPython keeps in the object, in an order that
its class remembers; with one more each call gets a dictionary of 1.5 KiB, filled anew, and every
attribute takes longer to reach: a quarter of a client's calls per second."""

from __future__ import annotations

from typing import Any

from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, One, running

from trioraft.rpc import Handler, InPlaceCall, InPlaceHandler

MOST = 30


async def test_a_unary_call_has_few_attributes_at_either_end() -> None:
    streams: list[Any] = []

    async def handler(stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(EchoReply(payload=request.payload))
        streams.append(stream)

    async with running([One(handler)]) as channel:
        async with EchoStub(channel).Unary.open(timeout=20, metadata={"a": "b"}) as stream:
            await stream.send_message(EchoRequest(payload=b"x"))
            assert await stream.recv_message() == EchoReply(payload=b"x")
            streams.append(stream)
    assert len(streams) == 2
    # A deadline, its scope and metadata come on top.
    usual = [set(vars(stream)) - {"deadline", "_metadata", "_scope"} for stream in streams]
    assert max(map(len, usual)) <= MOST


async def test_so_has_one_that_is_answered_in_place() -> None:
    calls: list[InPlaceCall[Any, Any]] = []

    class Direct:
        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: InPlaceHandler(self._handle, EchoRequest, EchoReply, self._at_once)}

        async def _handle(self, stream: Any) -> None:
            raise AssertionError("it was answered in place")

        def _at_once(self, call: InPlaceCall[Any, Any], request: EchoRequest) -> bool:
            calls.append(call)
            call.respond(EchoReply(payload=request.payload))
            return True

    async with running([Direct()]) as channel:
        assert (await EchoStub(channel).Unary(EchoRequest(payload=b"x"))).payload == b"x"
    [call] = calls
    # What it takes to hold on to a call, and to limit its time, comes on top.
    assert len(vars(call)) <= MOST - 3
