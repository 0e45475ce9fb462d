"""How calls end: statuses, deadlines, cancelling."""

from __future__ import annotations

from grpclib import Status

from _peers._gen.interop_pb2 import Instruction
from _peers.model import Caller, Metadata

from .common import KINDS, LONG, SOON, call, expect_alive, expect_ending, only, scenario, values


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
