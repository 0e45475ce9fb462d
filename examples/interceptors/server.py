"""A server whose interceptors log, measure, ask for tokens and limit rates.

python server.py [--port 50051]
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio
from trioraft.rpc import GRPCError, ServerCall, Status, serve
from trioraft.rpc.interceptors.logs import log_calls
from trioraft.rpc.interceptors.rates import by_identity, limit_rate
from trioraft.rpc.interceptors.tokens import authenticate, identity_as, static_tokens

from notes_pb2 import Note, Nothing
from notes_trio import NotesBase


class Notes(NotesBase):
    """Keeps notes by the name that the caller's token stands for."""

    def __init__(self) -> None:
        self._notes: defaultdict[str, list[str]] = defaultdict(list)

    async def Add(self, request: Note) -> Nothing:
        if not request.text:
            raise ValueError("an empty note")
        self._notes[identity_as(str)].append(request.text)
        return Nothing()

    async def List(self, request: Nothing, replies: trio.abc.SendChannel[Note]) -> None:
        for text in self._notes[identity_as(str)]:
            await replies.send(Note(text=text))


@asynccontextmanager
async def timed(call: ServerCall) -> AsyncGenerator[None]:
    """Tells the caller in the trailers how long it has taken."""
    started = trio.current_time()
    try:
        yield
    finally:
        milliseconds = (trio.current_time() - started) * 1000
        call.add_trailing_metadata({"took-ms": f"{milliseconds:.3f}"})


@asynccontextmanager
async def blaming(call: ServerCall) -> AsyncGenerator[None]:
    """What handlers find wrong with a request is the caller's fault, and said so."""
    try:
        yield
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error


async def main(port: int) -> None:
    tokens = static_tokens({"ada's secret": "ada", "bob's secret": "bob"})
    interceptors = [
        log_calls(metadata=["request-id"]),
        timed,
        authenticate(tokens),
        limit_rate(100, key=by_identity),
        blaming,
    ]
    async with trio.open_nursery() as nursery:
        start = partial(serve, [Notes()], port=port, interceptors=interceptors)
        [(host, port)] = await nursery.start(start)
        print(f"serving at {host}:{port}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=50051)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    try:
        trio.run(main, parser.parse_args().port)
    except* KeyboardInterrupt:
        pass
