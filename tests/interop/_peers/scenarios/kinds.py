"""Every kind of call, and metadata both ways."""

from __future__ import annotations

from _peers._gen.interop_pb2 import Instruction
from _peers.model import Caller

from .common import KINDS, call, only, scenario, values


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
