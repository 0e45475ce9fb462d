"""Greets by stubs of both generators, on one channel.

python client.py 127.0.0.1:50051 Ada
"""

from __future__ import annotations

import sys

import trio
from greeter_grpc import PartingStub
from greeter_pb2 import Hello
from greeter_trio import GreeterStub
from trioraft.rpc import open_channel


async def main(target: str, name: str) -> None:
    async with open_channel(target) as channel:
        greeter = GreeterStub(channel)
        with trio.fail_after(5):  # the server knows, too: it is the deadline of both calls
            print((await greeter.Greet(Hello(name=name))).text)
            async with greeter.GreetInAll(Hello(name=name)) as replies:
                async for reply in replies:
                    print(reply.text)
        print((await PartingStub(channel).Part(Hello(name=name), timeout=5)).text)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
