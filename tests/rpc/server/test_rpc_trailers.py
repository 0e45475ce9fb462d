"""Trailing metadata that a handler sets ahead of the call's end."""

from __future__ import annotations

from typing import Any

import pytest
from echo_pb2 import EchoReply, EchoRequest
from echo_service import UNARY, One, in_memory

from trioraft.rpc import (
    Cardinality,
    GRPCError,
    Handler,
    InPlaceCall,
    InPlaceHandler,
    ServerStream,
    Service,
    Status,
)


async def outcome_of(service: Service) -> tuple[Status, dict[str, Any]]:
    """How a call of the service's unary method ends: its status and trailing metadata."""
    status = Status.OK
    async with in_memory([service]) as (channel, _):
        try:
            async with channel.request(
                UNARY, Cardinality.UNARY_UNARY, EchoRequest, EchoReply
            ) as call:
                await call.send_message(EchoRequest())
        except GRPCError as error:
            status = error.status
        assert call.trailing_metadata is not None
        return status, dict(call.trailing_metadata)


async def test_it_goes_with_ok() -> None:
    async def handle(call: ServerStream[Any, Any]) -> None:
        call.set_trailing_metadata({"cost": "1"})
        call.set_trailing_metadata({"cost": "2", "trace-bin": b"\0"})
        await call.recv_message()
        await call.send_message(EchoReply())

    assert await outcome_of(One(handle)) == (Status.OK, {"cost": "2", "trace-bin": b"\0"})


async def test_it_goes_with_an_error() -> None:
    async def handle(call: ServerStream[Any, Any]) -> None:
        call.set_trailing_metadata({"cost": "2"})
        raise GRPCError(Status.NOT_FOUND)

    assert await outcome_of(One(handle)) == (Status.NOT_FOUND, {"cost": "2"})


async def test_it_comes_before_what_the_status_is_sent_with() -> None:
    async def handle(call: ServerStream[Any, Any]) -> None:
        call.set_trailing_metadata([("a", "1")])
        await call.send_message(EchoReply())
        await call.send_trailing_metadata(metadata=[("b", "2")])

    status, metadata = await outcome_of(One(handle))
    assert (status, list(metadata.items())) == (Status.OK, [("a", "1"), ("b", "2")])


async def test_it_goes_with_an_answer_in_place() -> None:
    def attempt(call: InPlaceCall[Any, Any], request: object) -> bool:
        call.set_trailing_metadata({"cost": "0"})
        call.respond(EchoReply())
        return True

    class Direct:
        async def handle(self, call: ServerStream[Any, Any]) -> None:
            raise AssertionError("taken in place")

        def __mapping__(self) -> dict[str, Handler]:
            return {UNARY: InPlaceHandler(self.handle, EchoRequest, EchoReply, attempt)}

    assert await outcome_of(Direct()) == (Status.OK, {"cost": "0"})


async def test_what_is_not_valid_is_refused_at_once() -> None:
    async def handle(call: ServerStream[Any, Any]) -> None:
        with pytest.raises(ValueError, match="reserved"):
            call.set_trailing_metadata({"grpc-status": "0"})
        await call.send_message(EchoReply())

    assert await outcome_of(One(handle)) == (Status.OK, {})
