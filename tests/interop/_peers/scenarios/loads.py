"""Calls that are large, many, slow or in each other's way."""

from __future__ import annotations

import random
from collections.abc import Iterable

from _peers._gen.interop_pb2 import Instruction
from _peers.model import Caller

from .common import KINDS, LONG, MIB, call, expect_alive, only, scenario, values


@scenario
async def large_messages(caller: Caller) -> None:
    payload = bytes(range(256)) * (3 * MIB // 256)
    assert (await only(caller, call("Unary", Instruction(payload=payload)))).only.payload == payload
    outcome = await only(
        caller, call("ServerStream", Instruction(reply_size=3 * MIB, reply_count=5))
    )
    assert [len(reply.payload) for reply in outcome.parsed] == [3 * MIB] * 5, outcome.summary
    parts = (Instruction(payload=payload[: MIB // 2]) for _ in range(6))
    assert len((await only(caller, call("ClientStream", *parts))).only.payload) == 3 * MIB


@scenario
async def too_large_replies(caller: Caller) -> None:
    for kind, instruction in (
        ("Unary", Instruction(reply_size=5 * MIB)),
        ("ServerStream", Instruction(reply_size=5 * MIB, reply_count=3)),
    ):
        outcome = await only(caller, call(kind, instruction))
        assert outcome.code == "RESOURCE_EXHAUSTED", f"{kind}: {outcome.summary}"
        assert outcome.replies == []
    await expect_alive(caller)


@scenario
async def too_large_requests(caller: Caller) -> None:
    large = Instruction(payload=bytes(5 * MIB))
    for kind in KINDS:
        outcome = await only(caller, call(kind, large))
        assert outcome.code == "RESOURCE_EXHAUSTED", f"{kind}: {outcome.summary}"
    await expect_alive(caller)


@scenario
async def a_hundred_calls_at_once(caller: Caller) -> None:
    calls = [
        call(kind, Instruction(payload=b"%d" % n, reply_count=1, wait=0.2))
        for n, kind in enumerate(KINDS * 25)
    ]
    outcomes = await caller.run(*calls)
    assert [outcome.only.payload for outcome in outcomes] == payloads(range(100))


@scenario
async def a_slow_reader_stalls_only_itself(caller: Caller) -> None:
    """A stream fills its window and its reader takes its time; calls beside it go on.

    All of it below 4 MiB: grpclib's own client gives one stream the whole connection's window.
    """
    many = Instruction(reply_size=64 * 1024, reply_count=48)
    slow = call("ServerStream", many, pause=1.0)
    quick = [call("Unary", Instruction(payload=bytes(10_000))) for _ in range(20)]
    outcome, *others = await caller.run(slow, *quick)
    assert outcome.code == "OK", outcome.summary
    assert sum(len(reply.payload) for reply in outcome.parsed) == 48 * 64 * 1024
    assert all(len(other.only.payload) == 10_000 for other in others)
    slowest = max(others, key=lambda other: other.seconds)
    assert slowest.seconds < 1.0 <= outcome.seconds, f"{slowest.summary}; {outcome.summary}"


@scenario
async def a_storm_of_calls_that_go_wrong(caller: Caller) -> None:
    """Every way to end a call, mixed on one connection at random, and then it still serves."""
    rng = random.Random(1)
    calls, expected = [], []
    for number in range(200):
        payload = b"%d/" % number + bytes(rng.choice([0, 100, 20_000]))
        method = rng.choice(KINDS)
        match rng.randrange(4):
            case 0:
                one = call(method, Instruction(payload=payload, reply_count=1))
                allowed = {"OK"}
            case 1:
                one = call(method, Instruction(payload=payload, status=10))
                allowed = {"ABORTED"}
            case 2:
                soon = rng.uniform(0.01, 0.3)
                one = call(method, Instruction(payload=payload, wait=LONG), timeout=soon)
                allowed = {"DEADLINE_EXCEEDED"}
            case _:
                soon = rng.uniform(0.0, 0.3)
                one = call(method, Instruction(payload=payload, wait=LONG), cancel_after=soon)
                allowed = {"CANCELLED"}
        calls.append(one)
        expected.append((payload, allowed))
    outcomes = [o for at in range(0, 200, 100) for o in await caller.run(*calls[at : at + 100])]
    for outcome, (payload, allowed) in zip(outcomes, expected, strict=True):
        assert outcome.code in allowed, outcome.summary
        assert all(reply.payload == payload for reply in outcome.parsed)
        assert outcome.replies or outcome.code != "OK"
    await expect_alive(caller)


@scenario
async def big_trailers(caller: Caller) -> None:
    for kind in KINDS:
        instruction = Instruction(call_id="big", trailer_size=32 * 1024)
        outcome = await only(caller, call(kind, instruction))
        assert outcome.code == "OK", f"{kind}: {outcome.summary}"
        assert values(outcome.trailing, "big") == ["x" * 32 * 1024]
    await expect_alive(caller)


def payloads(numbers: Iterable[int]) -> list[bytes]:
    """What `a_hundred_calls_at_once` expects back."""
    return [b"%d" % n for n in numbers]
