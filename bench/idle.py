"""What idle connections and open streams cost a server, in memory.

    python bench/idle.py [--connections N] [--streams N] [--json FILE]

The server is one process; the clients are in another: bare sockets that have greeted and say no
more, then channels with a thousand calls each, all of them open at once.
Needs as many file descriptors as connections (`ulimit -n`).
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio
from _report import Scenario, show, write_json
from rich.console import Console

from trioraft.rpc import Cardinality, Encoded, Handler, Limits, open_channel, serve

CHAT = "/trioraft.bench.Idle/Chat"
# A client's preface, with empty SETTINGS and the acknowledgement of the server's.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\0\4\1\0\0\0\0"
STREAMS_PER_CONNECTION = 1000


class Idle:
    """Echoes."""

    def __mapping__(self) -> dict[str, Handler]:
        return {CHAT: Handler(self.chat, Cardinality.STREAM_STREAM, Encoded, Encoded)}

    async def chat(self, stream: Any) -> None:
        """Say back whatever is said."""
        async for message in stream:
            await stream.send_message(Encoded(message))


async def serve_here() -> None:
    """The server's process: prints its port, ends with its input."""
    limits = Limits(max_connections=20_000, max_concurrent_streams=STREAMS_PER_CONNECTION)
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(serve, [Idle()], port=0, limits=limits))
        print(address[1], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def connect(port: int, count: int) -> None:
    """The idle clients' process: connects, prints how many are greeted, waits for a line."""
    sockets = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(GREETING)
        sockets.append(sock)
    greeted = sum(bool(sock.recv(1000)) for sock in sockets)
    print(greeted, flush=True)
    sys.stdin.readline()


async def call(port: int, count: int) -> None:
    """The calls' process: opens them all, prints, waits for a line, lets each echo once more."""
    opened, again = 0, trio.Event()

    async def one(channel: Any) -> None:
        nonlocal opened
        kind = Cardinality.STREAM_STREAM
        async with channel.request(CHAT, kind, Encoded, Encoded) as stream:
            await stream.send_message(Encoded(b"hello"))
            assert await stream.recv_message() == b"hello"
            opened += 1
            await again.wait()
            await stream.send_message(Encoded(b"again"))
            assert await stream.recv_message() == b"again"
            await stream.end()
            assert await stream.recv_message() is None

    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(open_channel(f"127.0.0.1:{port}"))
            for _ in range(0, count, STREAMS_PER_CONNECTION)
        ]
        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, channels[number // STREAMS_PER_CONNECTION])
            while opened < count:
                await trio.sleep(0.01)
            print(time.perf_counter() - start, flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            start = time.perf_counter()
            again.set()
        print(time.perf_counter() - start, flush=True)


def child(*arguments: str | int) -> subprocess.Popen[str]:
    """This file in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> float:
    """The next number that it prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the other process has failed; its error output says why")
    return float(line)


def resident(process: subprocess.Popen[str]) -> float:
    """Memory of the process in KiB, without the kernel's for its sockets."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return float(line.split()[1])
    raise RuntimeError("the kernel tells no RSS")


def measure(connections: int, streams: int) -> list[Scenario]:
    """Run both; memory is what the server has grown by."""
    per_connection = Scenario("idle connection", "KiB", "", higher_is_better=False)
    per_stream = Scenario("open stream with its handler", "KiB", "", higher_is_better=False)
    opening = Scenario(f"opening {streams} streams", "s", "", higher_is_better=False)
    echoing = Scenario(f"an echo on each of {streams} streams", "s", "", higher_is_better=False)
    name = "trioraft"
    server = child("serve")
    port = int(line_of(server))
    try:
        before = resident(server)
        idle = child("connect", port, connections)
        greeted = line_of(idle)
        if greeted != connections:
            raise RuntimeError(f"only {greeted} of {connections} connections were greeted")
        time.sleep(1)
        per_connection.add(name, (resident(server) - before) / connections)
        idle.communicate("\n")
    finally:
        server.communicate()
    server = child("serve")
    port = int(line_of(server))
    try:
        before = resident(server)
        calls = child("call", port, streams)
        opening.add(name, line_of(calls))
        per_stream.add(name, (resident(server) - before) / streams)
        assert calls.stdin is not None
        calls.stdin.write("\n")
        calls.stdin.flush()
        echoing.add(name, line_of(calls))
        calls.communicate()
    finally:
        server.communicate()
    return [per_connection, per_stream, opening, echoing]


@click.command()
@click.option("--connections", default=10_000, show_default=True)
@click.option("--streams", default=10_000, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write results there.")
def main(connections: int, streams: int, json_path: Path | None) -> None:
    """Measure what many connections and streams cost."""
    scenarios = measure(connections, streams)
    title = f"{connections} idle connections, {streams} open streams: the server"
    show(title, scenarios, Console())
    if json_path is not None:
        write_json(json_path, title, scenarios, {})


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.argv[1:2] == ["serve"]:
        trio.run(serve_here)
    elif sys.argv[1:2] == ["connect"]:
        connect(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["call"]:
        trio.run(call, int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
