"""Echo server and clients on purerpc, run by a Python that has it; see `_rpc_peers.py`.

purerpc pins an HTTP/2 engine that nothing else here could use, so `_rpc_others.py` gives it a
virtual environment of its own. It runs on Trio there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import purerpc
import trio

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rpc" / "_gen"))

from echo_pb2 import EchoReply, EchoRequest
from purerpc.rpc import RPCSignature

NAME = "trioraft.testing.Echo"
REQUEST = EchoRequest(payload=b"x" * 64)


async def unary(request: EchoRequest) -> EchoReply:
    return EchoReply(payload=request.payload)


async def chat(requests: AsyncIterator[EchoRequest]) -> AsyncIterator[EchoReply]:
    async for request in requests:
        yield EchoReply(payload=request.payload)


UNARY = RPCSignature.from_annotations(EchoRequest, EchoReply)
CHAT = RPCSignature.from_annotations(AsyncIterator[EchoRequest], AsyncIterator[EchoReply])


async def serve() -> None:
    service = purerpc.Service(NAME)
    service.add_method("Unary", unary, UNARY)
    service.add_method("Chat", chat, CHAT)
    server = purerpc.Server(port=0)
    server.add_service(service)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(server.serve_async)
        print(port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def latencies(call: Callable[[], Awaitable[Any]], count: int) -> None:
    for _ in range(min(200, count)):
        await call()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    times.sort()
    print(times[len(times) // 2], times[len(times) * 99 // 100])


async def in_turn(call: Callable[[], Awaitable[Any]], count: int) -> None:
    for _ in range(count):
        await call()


async def echoes(client: purerpc.Client, count: int, width: int) -> None:
    room = trio.Semaphore(width)

    async def requests() -> AsyncIterator[EchoRequest]:
        for _ in range(count):
            await room.acquire()
            yield REQUEST

    async for _ in client.get_method_stub("Chat", CHAT)(requests()):
        room.release()


async def client(work: str, port: int, count: int, width: int) -> None:
    async with purerpc.insecure_channel("127.0.0.1", port) as channel:
        made = purerpc.Client(NAME, channel)
        call = partial(made.get_method_stub("Unary", UNARY), REQUEST)
        await call()
        if work == "latency":
            await latencies(call, count)
            return
        start = time.perf_counter()
        if work == "unary":
            async with trio.open_nursery() as nursery:
                for _ in range(width):
                    nursery.start_soon(in_turn, call, count // width)
        else:
            await echoes(made, count, width)
        print(time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(serve)
    else:
        numbers = (*map(int, sys.argv[3:]), 1)[:3]
        trio.run(client, sys.argv[1], *numbers)
