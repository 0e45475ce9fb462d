"""Echo servers and clients on trioraft, grpcio.aio and grpclib, one process each for `rpc.py`.

python _rpc_peers.py serve STACK            print the port, serve until the input ends
python _rpc_peers.py unary STACK PORT N C   N calls, C at a time: print seconds
python _rpc_peers.py latency STACK PORT N   N calls in turn: print p50 and p99 in seconds
python _rpc_peers.py stream STACK PORT N W  N echoes on one stream, W in flight: print seconds
python _rpc_peers.py bulk STACK PORT N      N replies of 1 MiB on one stream: print seconds
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "rpc" / "_gen"))

import echo_grpc
import grpclib.client
import grpclib.server
from echo_pb2 import EchoReply, EchoRequest

STACK = sys.argv[2] if len(sys.argv) > 2 else ""
# Each process loads the stack it measures and no other, or their memory would be mixed up.
if STACK == "grpcio.aio":
    import grpc
    import grpc.aio
if STACK == "trioraft":
    import trio

    from trioraft import rpc

PAYLOAD = b"x" * 64
REQUEST = EchoRequest(payload=PAYLOAD)

Call = Callable[[], Awaitable[Any]]


def bulk(count: int) -> EchoRequest:
    """Asks for `count` replies of 1 MiB."""
    return EchoRequest(payload=bytes(2**20), count=count)


class Echo(echo_grpc.EchoBase):
    """The service for the two stacks that run grpclib's generated code."""

    async def Unary(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(EchoReply(payload=request.payload))

    async def Expand(self, stream: Any) -> None:
        request = await stream.recv_message()
        for index in range(request.count):
            await stream.send_message(EchoReply(payload=request.payload, index=index))

    async def Collect(self, stream: Any) -> None:
        payloads = [request.payload async for request in stream]
        await stream.send_message(EchoReply(payload=b"".join(payloads)))

    async def Chat(self, stream: Any) -> None:
        async for request in stream:
            await stream.send_message(EchoReply(payload=request.payload))


async def _unary_handler(request: EchoRequest, context: Any) -> EchoReply:
    return EchoReply(payload=request.payload)


async def _chat_handler(
    requests: AsyncIterator[EchoRequest], context: Any
) -> AsyncIterator[EchoReply]:
    async for request in requests:
        yield EchoReply(payload=request.payload)


async def _expand_handler(request: EchoRequest, context: Any) -> AsyncIterator[EchoReply]:
    for index in range(request.count):
        yield EchoReply(payload=request.payload, index=index)


# ---- servers -------------------------------------------------------------------------------------


async def serve_trioraft() -> None:
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(rpc.serve, [Echo()], port=0))
        print(address[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def serve_grpcio() -> None:
    server = grpc.aio.server()
    kinds = {
        "Unary": grpc.unary_unary_rpc_method_handler(
            _unary_handler, EchoRequest.FromString, EchoReply.SerializeToString
        ),
        "Expand": grpc.unary_stream_rpc_method_handler(
            _expand_handler, EchoRequest.FromString, EchoReply.SerializeToString
        ),
        "Chat": grpc.stream_stream_rpc_method_handler(
            _chat_handler, EchoRequest.FromString, EchoReply.SerializeToString
        ),
    }
    handler = grpc.method_handlers_generic_handler("trioraft.testing.Echo", kinds)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def serve_grpclib() -> None:
    server = grpclib.server.Server([Echo()])
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    print(server._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    await server.wait_closed()


# ---- clients -------------------------------------------------------------------------------------


async def _latencies(call: Call, count: int) -> None:
    for _ in range(min(200, count)):
        await call()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        times.append(time.perf_counter() - start)
    times.sort()
    print(times[len(times) // 2], times[len(times) * 99 // 100])


async def _in_turn(call: Call, count: int) -> None:
    for _ in range(count):
        await call()


async def client_trioraft(work: str, port: int, count: int, width: int) -> None:
    async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
        stub = echo_grpc.EchoStub(channel)
        call = partial(stub.Unary, REQUEST)
        await call()
        if work == "latency":
            await _latencies(call, count)
            return
        start = time.perf_counter()
        if work == "unary":
            async with trio.open_nursery() as nursery:
                for _ in range(width):
                    nursery.start_soon(_in_turn, call, count // width)
        elif work == "bulk":
            await _bulk_trioraft(stub, count)
        else:
            await _stream_trioraft(stub, count, width)
        print(time.perf_counter() - start)


async def _stream_trioraft(stub: Any, count: int, width: int) -> None:
    async with stub.Chat.open() as stream:
        sent = received = 0
        while received < count:
            while sent < count and sent - received < width:
                await stream.send_message(REQUEST)
                sent += 1
            received += len(await stream.receive_available())
        await stream.end()


async def _bulk_trioraft(stub: Any, count: int) -> None:
    async with stub.Expand.open() as stream:
        await stream.send_message(bulk(count), end=True)
        received = 0
        async for _ in stream:
            received += 1
    assert received == count


async def client_grpcio(work: str, port: int, count: int, width: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary = channel.unary_unary(
            "/trioraft.testing.Echo/Unary",
            request_serializer=EchoRequest.SerializeToString,
            response_deserializer=EchoReply.FromString,
        )
        call = partial(unary, REQUEST)
        await call()
        if work == "latency":
            await _latencies(call, count)
            return
        start = time.perf_counter()
        if work == "unary":
            await asyncio.gather(*(_in_turn(call, count // width) for _ in range(width)))
        elif work == "bulk":
            expand = channel.unary_stream(
                "/trioraft.testing.Echo/Expand",
                request_serializer=EchoRequest.SerializeToString,
                response_deserializer=EchoReply.FromString,
            )
            received = 0
            async for _ in expand(bulk(count)):
                received += 1
            assert received == count
        else:
            chat = channel.stream_stream(
                "/trioraft.testing.Echo/Chat",
                request_serializer=EchoRequest.SerializeToString,
                response_deserializer=EchoReply.FromString,
            )
            stream = chat()
            room = asyncio.Semaphore(width)

            async def send() -> None:
                for _ in range(count):
                    await room.acquire()
                    await stream.write(REQUEST)
                await stream.done_writing()

            sender = asyncio.create_task(send())
            async for _ in stream:
                room.release()
            await sender
        print(time.perf_counter() - start)


async def client_grpclib(work: str, port: int, count: int, width: int) -> None:
    async with grpclib.client.Channel("127.0.0.1", port) as channel:
        stub = echo_grpc.EchoStub(channel)
        call = partial(stub.Unary, REQUEST)
        await call()
        if work == "latency":
            await _latencies(call, count)
            return
        start = time.perf_counter()
        if work == "unary":
            await asyncio.gather(*(_in_turn(call, count // width) for _ in range(width)))
        else:
            room = asyncio.Semaphore(width)
            async with stub.Chat.open() as stream:
                await stream.send_request()

                async def send() -> None:
                    for _ in range(count):
                        await room.acquire()
                        await stream.send_message(REQUEST)
                    await stream.end()

                sender = asyncio.create_task(send())
                async for _ in stream:
                    room.release()
                await sender
        print(time.perf_counter() - start)


SERVERS = {"trioraft": serve_trioraft, "grpcio.aio": serve_grpcio, "grpclib": serve_grpclib}
CLIENTS = {"trioraft": client_trioraft, "grpcio.aio": client_grpcio, "grpclib": client_grpclib}


def main(work: str, stack: str, *numbers: str) -> None:
    """Do one piece of work on one stack, in this process."""
    run: Callable[..., Any] = lambda function, *args: asyncio.run(function(*args))  # noqa: E731
    if stack == "trioraft":
        run = trio.run
    if work == "serve":
        run(SERVERS[stack])
    else:
        port, count, width = (*map(int, numbers), 1)[:3]
        run(CLIENTS[stack], work, port, count, width)


if __name__ == "__main__":
    main(*sys.argv[1:])
