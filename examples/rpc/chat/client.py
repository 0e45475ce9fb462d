"""Joins the room: says what it reads, prints what it hears, leaves at the end of its input.

python client.py 127.0.0.1:50052 ada
"""

from __future__ import annotations

import sys

import trio
from chat_pb2 import Line
from chat_trio import RoomStub
from trioraft.rpc import GRPCError, open_channel


async def main(target: str, name: str) -> None:
    async with (
        open_channel(target) as channel,
        RoomStub(channel).Join(metadata={"name": name}) as (requests, replies),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(speak, requests)
        async for line in replies:
            print(f"{line.author}: {line.text}" if line.author else f"({line.text})", flush=True)
        nursery.cancel_scope.cancel()


async def speak(requests: trio.abc.SendChannel[Line]) -> None:
    async with requests:
        while text := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await requests.send(Line(text=text.rstrip()))


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1], sys.argv[2])
    except* GRPCError as group:
        sys.exit(f"{group.exceptions[0]}")
