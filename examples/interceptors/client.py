"""Adds a note and lists all, with a token and an id in the metadata of each call.

python client.py 127.0.0.1:50051 TOKEN NOTE
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

import trio
from trioraft.rpc import ClientCall, ClientInterceptor, GRPCError, open_channel

from notes_pb2 import Note, Nothing
from notes_trio import NotesStub


def with_token(token: str) -> ClientInterceptor:
    """An interceptor with a setting is a function that returns one."""

    @asynccontextmanager
    async def add_token(call: ClientCall) -> AsyncGenerator[None]:
        call.metadata["authorization"] = f"Bearer {token}"
        yield

    return add_token


numbers = count(1)


@asynccontextmanager
async def numbered(call: ClientCall) -> AsyncGenerator[None]:
    """Numbers the calls, and says how each has ended."""
    call.metadata["request-id"] = str(next(numbers))
    traffic = call.measure()
    try:
        yield
    finally:
        assert call.outcome is not None
        print(f"({call.name}: {call.outcome.status.name}, {traffic.received} received)")


async def main(target: str, token: str, note: str) -> None:
    async with open_channel(target, interceptors=[numbered, with_token(token)]) as channel:
        stub = NotesStub(channel)
        await stub.Add(Note(text=note), timeout=5)
        async with stub.List(Nothing(), timeout=5) as notes:
            async for one in notes:
                print(one.text)


if __name__ == "__main__":
    try:
        trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
    except GRPCError as error:
        sys.exit(f"{error.status.name}: {error.message}")
