"""What the interceptors' tests share: echo services and callers of either code generator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import echo_grpc
import echo_trio
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import Echo as GrpclibEcho

from trioraft.rpc import Channel
from trioraft.rpc.interceptors import ClientCall, ServerCall

PREFIX = "/trioraft.testing.Echo/"
KINDS = ("Unary", "Expand", "Collect", "Chat")
FLAVOURS = ("trioraft", "grpclib")


class TrioraftEcho(echo_trio.EchoBase):
    """The echo service, by our own generated code."""

    async def Unary(self, request: EchoRequest) -> EchoReply:
        return EchoReply(payload=request.payload)

    async def Expand(self, request: EchoRequest, replies: trio.abc.SendChannel[EchoReply]) -> None:
        for index in range(request.count):
            await replies.send(EchoReply(payload=request.payload, index=index))

    async def Collect(self, requests: trio.abc.ReceiveChannel[EchoRequest]) -> EchoReply:
        payloads = [request.payload async for request in requests]
        return EchoReply(payload=b"".join(payloads), index=len(payloads))

    async def Chat(
        self,
        requests: trio.abc.ReceiveChannel[EchoRequest],
        replies: trio.abc.SendChannel[EchoReply],
    ) -> None:
        async for request in requests:
            await replies.send(EchoReply(payload=request.payload))


def service(flavour: str) -> Any:
    """The echo service of a code generator."""
    return TrioraftEcho() if flavour == "trioraft" else GrpclibEcho()


async def by_trioraft(channel: Channel, kind: str, **options: Any) -> list[bytes]:
    """Send a and b (or 2 times ab) by our stub; the payloads that come back."""
    stub = echo_trio.EchoStub(channel)
    if kind == "Unary":
        return [(await stub.Unary(EchoRequest(payload=b"ab"), **options)).payload]
    if kind == "Expand":
        async with stub.Expand(EchoRequest(payload=b"ab", count=2), **options) as replies:
            return [reply.payload async for reply in replies]
    if kind == "Collect":
        async with stub.Collect(**options) as upload:
            await upload.send(EchoRequest(payload=b"a"))
            await upload.send(EchoRequest(payload=b"b"))
            return [(await upload.reply()).payload]
    async with stub.Chat(**options) as (requests, replies):
        async with requests:
            await requests.send(EchoRequest(payload=b"a"))
            await requests.send(EchoRequest(payload=b"b"))
        return [reply.payload async for reply in replies]


async def by_grpclib(channel: Channel, kind: str, **options: Any) -> list[bytes]:
    """As `by_trioraft`, by grpclib's stub."""
    stub = echo_grpc.EchoStub(channel)  # type: ignore[arg-type]
    if kind == "Unary":
        return [(await stub.Unary(EchoRequest(payload=b"ab"), **options)).payload]
    if kind == "Expand":
        replies = await stub.Expand(EchoRequest(payload=b"ab", count=2), **options)
        return [reply.payload for reply in replies]
    both = [EchoRequest(payload=b"a"), EchoRequest(payload=b"b")]
    if kind == "Collect":
        return [(await stub.Collect(both, **options)).payload]
    return [reply.payload for reply in await stub.Chat(both, **options)]


CALL: dict[str, Callable[..., Awaitable[list[bytes]]]] = {
    "trioraft": by_trioraft,
    "grpclib": by_grpclib,
}

#: What each kind gives back.
ANSWERS = {"Unary": [b"ab"], "Expand": [b"ab", b"ab"], "Collect": [b"ab"], "Chat": [b"a", b"b"]}

#: Messages there and back.
COUNTS = {"Unary": (1, 1), "Expand": (1, 2), "Collect": (2, 1), "Chat": (2, 2)}


class Diary:
    """Interceptors that write down what they see."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.calls: list[ServerCall | ClientCall] = []

    def named(self, name: str) -> Callable[[Any], Any]:
        """An interceptor for either end that notes when it is entered and left, and with what."""

        @asynccontextmanager
        async def interceptor(call: ServerCall | ClientCall) -> AsyncIterator[None]:
            assert call.outcome is None
            self.calls.append(call)
            self.entries.append(f"{name} in")
            try:
                yield
            except BaseException as error:
                self.entries.append(f"{name} {type(error).__name__}")
                raise
            finally:
                assert call.outcome is not None
                self.entries.append(f"{name} {call.outcome.status.name}")

        return interceptor
