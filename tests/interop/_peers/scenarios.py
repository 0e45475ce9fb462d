"""What every client on every server must show. Each scenario takes a caller and asserts."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable

import pytest
import trio
from grpclib import Status

from ._gen.interop_pb2 import Instruction
from .model import Call, Caller, Metadata, Outcome

Scenario = Callable[[Caller], Awaitable[None]]

#: Every scenario, in the order of this file.
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


@scenario
async def unary(caller: Caller) -> None:
    for payload in (b"", b"hello", bytes(range(256))):
        outcome = await only(caller, call("Unary", Instruction(payload=payload)))
        assert outcome.only.payload == payload
        assert outcome.only.received == 1


@scenario
async def server_stream(caller: Caller) -> None:
    outcome = await only(caller, call("ServerStream", Instruction(payload=b"x", reply_count=100)))
    assert outcome.code == "OK", outcome.summary
    assert [reply.payload for reply in outcome.parsed] == [b"x"] * 100


@scenario
async def server_stream_without_replies(caller: Caller) -> None:
    outcome = await only(caller, call("ServerStream", Instruction()))
    assert (outcome.code, outcome.replies) == ("OK", []), outcome.summary


@scenario
async def client_stream(caller: Caller) -> None:
    outcome = await only(
        caller, call("ClientStream", *(Instruction(payload=b"%d," % n) for n in range(50)))
    )
    assert outcome.only.received == 50
    assert outcome.only.payload.split(b",")[:-1] == [b"%d" % n for n in range(50)]


@scenario
async def streams_without_requests(caller: Caller) -> None:
    assert (await only(caller, call("ClientStream"))).only.received == 0
    outcome = await only(caller, call("Bidi"))
    assert (outcome.code, outcome.replies) == ("OK", []), outcome.summary


@scenario
async def bidi(caller: Caller) -> None:
    outcome = await only(
        caller, call("Bidi", *(Instruction(payload=b"%d" % n) for n in range(1, 101)))
    )
    assert outcome.code == "OK", outcome.summary
    assert [(r.payload, r.received) for r in outcome.parsed] == [
        (b"%d" % n, n) for n in range(1, 101)
    ]


@scenario
async def metadata_both_ways(caller: Caller) -> None:
    binary = bytes(range(256))
    sent: list[tuple[str, str | bytes]] = [
        ("initial-text", "plain, with a comma"),
        ("initial-twice", "one"),
        ("initial-twice", "two"),
        ("initial-raw-bin", binary),
        ("initial-empty-bin", b""),
        ("trailing-text", "~!@#$%^&*()"),
        ("trailing-raw-bin", binary[::-1]),
        ("trailing-odd-bin", b"\x00"),
    ]
    for kind in KINDS:
        outcome = await only(caller, call(kind, Instruction(call_id="m"), metadata=sent))
        assert outcome.code == "OK", f"{kind}: {outcome.summary}"
        for key in dict.fromkeys(key for key, _ in sent):
            place = outcome.initial if key.startswith("initial-") else outcome.trailing
            assert values(place, key) == values(sent, key), f"{kind}: {key}"


@scenario
async def every_status(caller: Caller) -> None:
    codes = [status for status in Status if status is not Status.OK]
    outcomes = await caller.run(
        *(call("Unary", Instruction(status=code.value, status_message="why")) for code in codes)
    )
    assert [(o.code, o.message) for o in outcomes] == [(code.name, "why") for code in codes]
    await expect_alive(caller)


@scenario
async def error_messages_in_any_script(caller: Caller) -> None:
    for message in ("100% wrong: %41 is not A", "größer als 5 €", "日本語\t\n\r🎉", "a" * 2000):
        instruction = Instruction(status=Status.DATA_LOSS.value, status_message=message)
        for kind in KINDS:
            outcome = await only(caller, call(kind, instruction))
            assert (outcome.code, outcome.message) == ("DATA_LOSS", message), kind


@scenario
async def errors_after_replies_with_metadata(caller: Caller) -> None:
    sent: Metadata = [("initial-a", "first"), ("trailing-b-bin", b"\xff\x00")]
    failing = Instruction(
        payload=b"r", reply_count=3, status=Status.ABORTED.value, status_message="enough"
    )
    outcome = await only(caller, call("ServerStream", failing, metadata=sent))
    assert (outcome.code, outcome.message) == ("ABORTED", "enough")
    assert len(outcome.replies) == 3
    assert values(outcome.initial, "initial-a") == ["first"]
    assert values(outcome.trailing, "trailing-b-bin") == [b"\xff\x00"]


@scenario
async def trailers_only(caller: Caller) -> None:
    failing = Instruction(status=Status.NOT_FOUND.value, status_message="not here")
    sent: Metadata = [("trailing-c", "with the status")]
    outcome = await only(caller, call("Unary", failing, metadata=sent))
    assert (outcome.code, outcome.message) == ("NOT_FOUND", "not here")
    assert values(outcome.trailing, "trailing-c") == ["with the status"]


@scenario
async def unknown_method(caller: Caller) -> None:
    outcome = await only(caller, call("Missing", Instruction()))
    assert outcome.code == "UNIMPLEMENTED", outcome.summary
    await expect_alive(caller)


@scenario
async def deadline_passes(caller: Caller) -> None:
    late = [
        call(kind, Instruction(call_id=f"late {kind}", wait=LONG), timeout=0.3) for kind in KINDS
    ]
    for kind, outcome in zip(KINDS, await caller.run(*late), strict=True):
        assert outcome.code == "DEADLINE_EXCEEDED", f"{kind}: {outcome.summary}"
        assert 0.25 < outcome.seconds < SOON, f"{kind}: {outcome.summary}"
        await expect_ending(caller, f"late {kind}", b"cancelled")


@scenario
async def handler_sees_the_time_remaining(caller: Caller) -> None:
    """To a second or a percent: grpcio rounds timeouts up, grpclib down, to few digits."""
    for kind in ("Unary", "ClientStream", "Bidi"):
        for timeout in (0.9, 20.0, 3000.0):
            outcome = await only(caller, call(kind, Instruction(payload=b"t"), timeout=timeout))
            remaining = outcome.only.time_remaining
            least = max(0.0, timeout - 2.0)
            assert least < remaining <= 1.01 * timeout, f"{kind}: {remaining} of {timeout}"
        outcome = await only(caller, call(kind, Instruction(payload=b"t")))
        assert outcome.only.time_remaining == -1.0, kind


@scenario
async def client_cancels_while_the_handler_works(caller: Caller) -> None:
    given_up = [
        call(kind, Instruction(call_id=f"given up {kind}", wait=LONG), cancel_after=0.3)
        for kind in KINDS
    ]
    for kind, outcome in zip(KINDS, await caller.run(*given_up), strict=True):
        assert outcome.code == "CANCELLED", f"{kind}: {outcome.summary}"
        assert outcome.seconds < SOON, f"{kind}: {outcome.summary}"
        await expect_ending(caller, f"given up {kind}", b"cancelled")


@scenario
async def client_cancels_between_replies(caller: Caller) -> None:
    instruction = Instruction(call_id="between", payload=b"r", reply_count=5, wait=LONG)
    outcome = await only(caller, call("ServerStream", instruction, cancel_after_replies=5))
    assert outcome.code == "CANCELLED", outcome.summary
    assert len(outcome.replies) == 5
    await expect_ending(caller, "between", b"cancelled")
    await expect_alive(caller)


@scenario
async def finished_calls_are_not_cancelled(caller: Caller) -> None:
    for kind in KINDS:
        call_id = f"fine {kind}"
        outcome = await only(caller, call(kind, Instruction(call_id=call_id), timeout=20.0))
        assert outcome.code == "OK", f"{kind}: {outcome.summary}"
        await expect_ending(caller, call_id, b"finished")


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
