"""Checked by mypy, never run: each line that ends in a comment must be refused."""

from calls_pb2 import Text
from calls_trio import CallsBase, CallsStub


class Calls(CallsBase):
    async def Upper(self, request: str) -> Text:  # error: override
        return Text(text=request)

    async def Join(self, request: Text) -> Text:  # error: override
        return request


async def use(stub: CallsStub) -> None:
    await stub.Upper("text")  # error: arg-type
    await stub.Upper(Text(), timeout="1")  # error: arg-type
    await stub.Upper(Text(), patience=1)  # error: call-arg
    async with stub.Join() as upload:
        await upload.send("text")  # error: arg-type
    async with stub.Spell(Text()) as replies:
        async for reply in replies:
            print(reply.letters)  # error: attr-defined
    await stub.Former(Text())  # error: deprecated
