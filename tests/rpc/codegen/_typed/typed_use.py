"""Checked by mypy, never run: what users write, and the types they are promised."""

from __future__ import annotations

from typing import assert_type

import trio
from calls_pb2 import Text
from calls_trio import CallsBase, CallsStub

from trioraft.rpc import ReplyMetadata, ServerStream, current_call, open_channel, serve
from trioraft.rpc.testing import open_test_channel


class Calls(CallsBase):
    async def Upper(self, request: Text) -> Text:
        assert_type(current_call().metadata["x"], str | bytes)
        return Text(text=request.text.upper())

    async def Spell(self, request: Text, replies: trio.abc.SendChannel[Text]) -> None:
        for letter in request.text:
            await replies.send(Text(text=letter))

    async def Join(self, requests: trio.abc.ReceiveChannel[Text]) -> Text:
        return Text(text="".join([request.text async for request in requests]))

    async def Echo(
        self, requests: trio.abc.ReceiveChannel[Text], replies: trio.abc.SendChannel[Text]
    ) -> None:
        async for request in requests:
            assert_type(request, Text)
            await replies.send(request)


async def say(requests: trio.abc.SendChannel[Text]) -> None:
    async with requests:
        await requests.send(Text(text="a"))


async def use(stub: CallsStub) -> str:
    received = ReplyMetadata()
    assert_type(await stub.Upper(Text(), timeout=1, metadata={"a": "b"}, received=received), Text)
    async with stub.Spell(Text(text="abc"), timeout=None) as replies:
        async for reply in replies:
            assert_type(reply, Text)
    async with stub.Join(metadata=[("a", "b")]) as upload:
        await upload.send(Text())
        assert_type(await upload.reply(), Text)
    async with stub.Echo() as (requests, replies):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, requests)
            return (await replies.receive()).text


async def main() -> None:
    async with open_test_channel([Calls()]) as channel:
        print(await use(CallsStub(channel)))
    async with open_channel("localhost:1") as channel, trio.open_nursery() as nursery:
        nursery.start_soon(CallsStub(channel).Upper, Text())
    await serve([Calls()])
    call: ServerStream[Text, Text] = current_call()
    call.set_trailing_metadata({"a": "b"})
