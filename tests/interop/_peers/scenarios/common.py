"""What scenarios share: how they are registered, and calls that are made and looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from _peers._gen.interop_pb2 import Instruction
from _peers.model import Call, Caller, Metadata, Outcome

Scenario = Callable[[Caller], Awaitable[None]]

#: Every scenario, file by file.
SCENARIOS: list[Scenario] = []

MIB = 1024 * 1024
SOON = 5.0  # seconds within which what should happen at once has happened, on a busy machine
LONG = 25.0  # a wait that no passing scenario sits out

KINDS = ["Unary", "ServerStream", "ClientStream", "Bidi"]


def scenario(function: Scenario) -> Scenario:
    """Register one."""
    SCENARIOS.append(function)
    return function


def parametrize() -> pytest.MarkDecorator:
    """A test parameter `scenario`, one after the other."""
    return pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)


def call(method: str, *instructions: Instruction, **options: object) -> Call:
    """A call with these instructions."""
    requests = [instruction.SerializeToString() for instruction in instructions]
    return Call(method, requests, **options)  # type: ignore[arg-type]


def values(metadata: Metadata, key: str) -> list[str | bytes]:
    """The values of one key, in order."""
    return [value for name, value in metadata if name == key]


async def only(caller: Caller, one: Call) -> Outcome:
    """Make one call."""
    (outcome,) = await caller.run(one)
    return outcome


async def expect_ending(caller: Caller, call_id: str, ending: bytes) -> None:
    """Ask the server how the call ended."""
    asked = call("HowEnded", Instruction(call_id=call_id), timeout=SOON)
    assert (await only(caller, asked)).only.payload == ending


async def expect_alive(caller: Caller) -> None:
    """The connection still serves."""
    assert (await only(caller, call("Unary", Instruction(payload=b"on")))).only.payload == b"on"


async def expect_alive_soon(caller: Caller) -> None:
    """The server serves as soon as the client tries again to connect."""
    outcome = None
    with trio.move_on_after(2 * SOON):
        while outcome is None or outcome.code == "UNAVAILABLE":
            await trio.sleep(0.1)
            outcome = await only(caller, call("Unary", Instruction()))
    assert outcome is not None
    assert outcome.code == "OK", outcome.summary
