"""A greeter whose two services come from two code generators.

python server.py --port 50051
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import trio
from greeter_grpc import PartingBase
from greeter_pb2 import Greeting, Hello
from greeter_trio import GreeterBase
from trioraft.rpc import GRPCError, Status, serve_until_signal


class Greeter(GreeterBase):
    """By protoc-gen-trioraft: a request comes in, a reply goes out."""

    async def Greet(self, request: Hello) -> Greeting:
        if not request.name:
            raise GRPCError(Status.INVALID_ARGUMENT, "who is it?")
        return Greeting(text=f"Hello, {request.name}!")

    async def GreetInAll(self, request: Hello, replies: trio.abc.SendChannel[Greeting]) -> None:
        for word in ("Hello", "Hallo", "Bonjour", "Ahoj"):
            await replies.send(Greeting(text=f"{word}, {request.name}!"))


class Parting(PartingBase):
    """By grpclib's plugin: the handler has the call, a `trioraft.rpc.ServerStream`."""

    async def Part(self, stream: Any) -> None:
        request: Hello = await stream.recv_message()
        await stream.send_message(Greeting(text=f"Good-bye, {request.name}!"))


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        # SIGTERM and Ctrl-C let the calls that are open come to their end, for up to ten seconds.
        run = partial(serve_until_signal, [Greeter(), Parting()], port=port, grace=10)
        [(host, port)] = await nursery.start(run)
        print(f"serving at {host}:{port}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A greeter.")
    parser.add_argument("--port", type=int, default=50051)
    trio.run(main, parser.parse_args().port)
