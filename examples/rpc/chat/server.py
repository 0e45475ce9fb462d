"""A chat room: one bidirectional call per member, no locks, and nothing is left behind.

python server.py --port 50052
"""

from __future__ import annotations

import argparse
from functools import partial

import trio
from chat_pb2 import Line
from chat_trio import RoomBase
from trioraft.rpc import GRPCError, Status, current_call, serve

MAX_BEHIND = 100


class Room(RoomBase):
    """A member that is more than `MAX_BEHIND` lines behind misses some."""

    def __init__(self) -> None:
        self._members: dict[str, trio.MemorySendChannel[Line]] = {}

    async def Join(
        self,
        requests: trio.abc.ReceiveChannel[Line],
        replies: trio.abc.SendChannel[Line],
    ) -> None:
        name = str(current_call().metadata.get("name", ""))
        if not name or name in self._members:
            raise GRPCError(Status.ALREADY_EXISTS, f"the name {name!r} is taken")
        say, hear = trio.open_memory_channel[Line](MAX_BEHIND)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forward, hear, replies)
            # However this ends, a lost connection included, the member has left after it.
            with say:
                self._members[name] = say
                try:
                    self._tell(Line(text=f"{name} joined"))
                    async for line in requests:
                        self._tell(Line(author=name, text=line.text))
                finally:
                    del self._members[name]
                    self._tell(Line(text=f"{name} left"))

    def _tell(self, line: Line) -> None:
        for member in self._members.values():
            try:
                member.send_nowait(line)
            except trio.WouldBlock:
                continue


async def forward(
    hear: trio.MemoryReceiveChannel[Line], replies: trio.abc.SendChannel[Line]
) -> None:
    async for line in hear:
        await replies.send(line)


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        [(host, port)] = await nursery.start(partial(serve, [Room()], port=port))
        print(f"serving at {host}:{port}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A chat room.")
    parser.add_argument("--port", type=int, default=50052)
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        pass
