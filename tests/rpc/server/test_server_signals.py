"""Signals, for real: a process that is asked to stop, once or twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from echo_pb2 import EchoReply, EchoRequest
from echo_service import CHAT

from trioraft.rpc import Cardinality, GRPCError, Status, open_channel

ROOM = Path(__file__).parent.parent

SERVER = f"""
import sys
sys.path[:0] = [{str(ROOM)!r}, {str(ROOM / "_gen")!r}]
from functools import partial
import trio
from echo_service import Echo
from trioraft.rpc import serve_until_signal

async def main():
    async with trio.open_nursery() as nursery:
        run = partial(serve_until_signal, [Echo()], port=0, grace=20)
        [(host, port)] = await nursery.start(run)
        print(f"{{host}}:{{port}}", flush=True)

trio.run(main)
"""


@contextmanager
def server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process of its own; gives it and its address."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


async def ended(process: subprocess.Popen[str]) -> int:
    return await trio.to_thread.run_sync(process.wait, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_one_lets_calls_end(number: signal.Signals) -> None:
    with server() as (process, address):
        async with open_channel(address) as channel:
            async with channel.request(
                CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply
            ) as call:
                await call.send_message(EchoRequest(payload=b"1"))
                assert (await call.recv_message()).payload == b"1"
                os.kill(process.pid, number)
                await trio.sleep(0.2)
                await call.send_message(EchoRequest(payload=b"2"), end=True)
                assert (await call.recv_message()).payload == b"2"
        assert await ended(process) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


async def test_the_second_one_does_not_wait() -> None:
    with server() as (process, address):
        async with open_channel(address) as channel:
            with pytest.raises(GRPCError) as caught:
                async with channel.request(
                    CHAT, Cardinality.STREAM_STREAM, EchoRequest, EchoReply
                ) as call:
                    await call.send_message(EchoRequest(payload=b"1"))
                    await call.recv_message()
                    process.send_signal(signal.SIGTERM)
                    await trio.sleep(0.2)
                    process.send_signal(signal.SIGTERM)
                    await call.recv_message()
            assert caught.value.status is Status.UNAVAILABLE
        assert await ended(process) == 0
