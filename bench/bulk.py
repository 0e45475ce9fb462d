"""A stream of 1 MiB messages over loopback, trioraft against grpcio.aio, bytes without protobuf.

    python bench/bulk.py [--rounds N] [--count N] [--json FILE]

Server and client are processes of their own. `bench/rpc.py` has the same with protobuf, which
copies each message twice more at either end.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from _report import Scenario, alternate, show, write_json
from rich.console import Console

DOWN, UP = "/trioraft.bench.Bulk/Down", "/trioraft.bench.Bulk/Up"
MESSAGE = b"x" * 2**20
WARM_UP = 20


# ---- trioraft --------------------------------------------------------------------------------


async def serve_trioraft() -> None:
    import trio

    from trioraft.rpc import Cardinality, Encoded, Handler, serve

    async def down(stream: Any) -> None:
        for _ in range(int(await stream.recv_message())):
            await stream.send_message(Encoded(MESSAGE))

    async def up(stream: Any) -> None:
        size = 0
        async for message in stream:
            size += len(message)
        await stream.send_message(Encoded(b"%d" % size))

    class Bulk:
        def __mapping__(self) -> dict[str, Handler]:
            return {
                DOWN: Handler(down, Cardinality.UNARY_STREAM, Encoded, Encoded),
                UP: Handler(up, Cardinality.STREAM_UNARY, Encoded, Encoded),
            }

    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(serve, [Bulk()], port=0))
        print(address[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


async def client_trioraft(path: str, port: int, count: int) -> None:
    from trioraft.rpc import Cardinality, Encoded, open_channel

    async def once(channel: Any, count: int) -> int:
        kind = Cardinality.UNARY_STREAM if path == DOWN else Cardinality.STREAM_UNARY
        async with channel.request(path, kind, Encoded, Encoded) as stream:
            if path == DOWN:
                await stream.send_message(Encoded(b"%d" % count))
                size = 0
                async for message in stream:
                    size += len(message)
                return size
            for _ in range(count):
                await stream.send_message(Encoded(MESSAGE))
            await stream.end()
            return int(await stream.recv_message())

    async with open_channel(f"127.0.0.1:{port}") as channel:
        await once(channel, WARM_UP)
        start = time.perf_counter()
        assert await once(channel, count) == count * len(MESSAGE)
        print(time.perf_counter() - start)


# ---- grpcio.aio ------------------------------------------------------------------------------


async def serve_grpcio() -> None:
    import grpc
    import grpc.aio

    async def down(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield MESSAGE

    async def up(requests: AsyncIterator[bytes], context: Any) -> bytes:
        size = 0
        async for message in requests:
            size += len(message)
        return b"%d" % size

    server = grpc.aio.server()
    kinds = {
        "Down": grpc.unary_stream_rpc_method_handler(down),
        "Up": grpc.stream_unary_rpc_method_handler(up),
    }
    handler = grpc.method_handlers_generic_handler("trioraft.bench.Bulk", kinds)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def client_grpcio(path: str, port: int, count: int) -> None:
    import grpc.aio

    async def messages(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield MESSAGE

    async def once(channel: Any, count: int) -> int:
        if path == DOWN:
            size = 0
            async for message in channel.unary_stream(path)(b"%d" % count):
                size += len(message)
            return size
        return int(await channel.stream_unary(path)(messages(count)))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await once(channel, WARM_UP)
        start = time.perf_counter()
        assert await once(channel, count) == count * len(MESSAGE)
        print(time.perf_counter() - start)


# ---- both ------------------------------------------------------------------------------------


def measure(rounds: int, count: int, console: Console) -> list[Scenario]:
    """Alternating rounds of both stacks."""
    down = Scenario("replies of 1 MiB on one stream", "GB/s", "grpcio.aio")
    up = Scenario("requests of 1 MiB on one stream", "GB/s", "grpcio.aio")

    def run(stack: str) -> None:
        command = [sys.executable, __file__]
        server = subprocess.Popen(
            [*command, "serve", stack], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        try:
            for scenario, path in ((down, DOWN), (up, UP)):
                client = [*command, "client", stack, path, port, str(count)]
                done = subprocess.run(client, capture_output=True, text=True, check=True)
                scenario.add(stack, count * len(MESSAGE) / float(done.stdout) / 1e9)
        finally:
            server.communicate()

    alternate(("trioraft", "grpcio.aio"), rounds, run, console)
    return [down, up]


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Turns of each contestant.")
@click.option("--count", default=300, show_default=True, help="Messages of each run.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(rounds: int, count: int, json_path: Path | None) -> None:
    """Compare bulk streams over loopback."""
    console = Console()
    scenarios = measure(rounds, count, console)
    title = "Bulk streams over loopback: 1 MiB messages of plain bytes"
    show(title, scenarios, console)
    if json_path is not None:
        write_json(json_path, title, scenarios, {})


def child(role: str, stack: str, *rest: str) -> None:
    """One end, in this process."""
    work: Any = {
        ("serve", "trioraft"): serve_trioraft,
        ("serve", "grpcio.aio"): serve_grpcio,
        ("client", "trioraft"): client_trioraft,
        ("client", "grpcio.aio"): client_grpcio,
    }[role, stack]
    arguments = (rest[0], *map(int, rest[1:])) if rest else ()
    if stack == "trioraft":
        import trio

        trio.run(work, *arguments)
    else:
        asyncio.run(work(*arguments))


if __name__ == "__main__":
    if sys.argv[1:2] in (["serve"], ["client"]):
        child(*sys.argv[1:])
    else:
        main()
