"""Response headers are looked at once, and again whenever they are other ones."""

from __future__ import annotations

from typing import Any

from echo_grpc import EchoStub
from echo_pb2 import EchoReply, EchoRequest
from echo_service import One, running


async def handler(stream: Any) -> None:
    """Answers as the request says: with metadata, compressed, or in the usual way."""
    request = await stream.recv_message()
    if request.payload == b"metadata":
        await stream.send_initial_metadata(metadata={"color": "red"})
    if request.payload == b"compressed":
        stream.set_compression("gzip")
    await stream.send_message(EchoReply(payload=request.payload * 1000))


async def test_each_call_gets_what_its_own_headers_say() -> None:
    async with running([One(handler)]) as channel:
        stub = EchoStub(channel)
        for wish in (b"usual", b"metadata", b"usual", b"compressed", b"usual", b"compressed"):
            async with stub.Unary.open() as stream:
                await stream.send_message(EchoRequest(payload=wish))
                await stream.recv_initial_metadata()
                said = dict(stream.initial_metadata)
                assert said.get("color") == ("red" if wish == b"metadata" else None)
                assert (await stream.recv_message()).payload == wish * 1000
                assert stream.message_compressed == (wish == b"compressed")


async def test_unusual_headers_are_not_kept() -> None:
    async def long_winded(stream: Any) -> None:
        await stream.recv_message()
        many = {f"field-{number}": "x" for number in range(20)}
        await stream.send_initial_metadata(metadata=many)
        await stream.send_message(EchoReply())

    async with running([One(long_winded)]) as channel:
        await EchoStub(channel).Unary(EchoRequest())
        assert channel.connector.ready.usual_response == ()
