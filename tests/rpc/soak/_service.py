"""The soak's server process: an echo that fails, sleeps and crashes when it is told to.

python _service.py      prints the port, then vitals; see `_vitals`
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "_gen"))

import trio
from _vitals import converse, report
from echo_grpc import EchoBase
from echo_pb2 import EchoReply, EchoRequest

from trioraft.rpc import GRPCError, Status, serve

COUNTS: Counter[str] = Counter()


async def obey(request: EchoRequest) -> None:
    """Do what the beginning of the payload says."""
    word = request.payload[:5]
    if word == b"error":
        raise GRPCError(Status.NOT_FOUND, "as you wish: \N{SNOWMAN}", b"details")
    if word == b"crash":
        raise RuntimeError("as you wish")
    if word == b"sleep":
        await trio.sleep_forever()


class Soaked(EchoBase):
    """The echo service, obedient."""

    async def Unary(self, stream: Any) -> None:
        COUNTS["unary"] += 1
        request = await stream.recv_message()
        await obey(request)
        await stream.send_message(EchoReply(payload=request.payload))

    async def Expand(self, stream: Any) -> None:
        COUNTS["expand"] += 1
        request = await stream.recv_message()
        for index in range(request.count):
            await stream.send_message(EchoReply(payload=request.payload, index=index))
        await obey(request)

    async def Collect(self, stream: Any) -> None:
        COUNTS["collect"] += 1
        size = 0
        async for request in stream:
            await obey(request)
            size += len(request.payload)
        await stream.send_message(EchoReply(index=size))

    async def Chat(self, stream: Any) -> None:
        COUNTS["chat"] += 1
        async for request in stream:
            await obey(request)
            await stream.send_message(EchoReply(payload=request.payload))


async def main() -> None:
    """Serve until told to quit."""
    logging.disable(logging.CRITICAL)
    async with trio.open_nursery() as nursery:
        [address] = await nursery.start(partial(serve, [Soaked()], port=0))
        report(port=address[1])
        await converse(trio.sleep_forever, COUNTS)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
