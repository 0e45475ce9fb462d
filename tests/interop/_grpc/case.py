"""What a case of the suite is to our client, and what it checks with."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio

from trioraft.rpc import Channel, GRPCError, Status

from ._gen.grpc_testing_grpc import TestServiceStub


class CaseFailed(Exception):
    """The server, or our client, did not do what the case demands."""


@dataclass
class Tester:
    """One run of a case: a channel, the stub on it, and the flags.

    connect: opens a further channel like the first.
    """

    channel: Channel
    flags: argparse.Namespace
    connect: Callable[[], AbstractAsyncContextManager[Channel]]
    metadata: list[tuple[str, str]]
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = TestServiceStub(self.channel)


Case: TypeAlias = "Callable[[Tester], Awaitable[None]]"

CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Register a case under its function's name (without an underscore at its end)."""
    CASES[function.__name__.rstrip("_")] = function
    return function


def expect(condition: object, what: str) -> None:
    """Raises CaseFailed unless the condition holds."""
    if not condition:
        raise CaseFailed(what)


@asynccontextmanager
async def expect_status(status: Status, message: str | None = None) -> AsyncIterator[None]:
    """The block must end with this status, and with this message if one is given."""
    try:
        yield
    except GRPCError as error:
        expect(error.status is status, f"{error.status!r} ({error.message!r}), not {status!r}")
        if message is not None:
            expect(error.message == message, f"message {error.message!r}, not {message!r}")
    else:
        raise CaseFailed(f"the call ended with OK, not {status!r}")


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Fails what takes longer. No deadline of Trio's: calls would send that to the server.

    Of a group of exceptions the first is raised: it says enough.
    """

    async def fail() -> None:
        await trio.sleep(seconds)
        raise CaseFailed(f"not done after {seconds:g} s")

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            yield
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
