"""What openraft's service answers when something fails, and to input that no correct peer sends."""

from __future__ import annotations

import msgpack
import pytest
from openraft_kit import OPENRAFT, T5, append, append_bytes, raw, unary
from peer_wire import received, wired

from trioraft.node.peers import PeerUnreachableError
from trioraft.protocols.openraft.payload import wrap
from trioraft.raft.errors import (
    GroupStoppedError,
    OverloadedError,
    TrioraftError,
)
from trioraft.raft.messages import (
    VoteRequest,
)
from trioraft.rpc import Cardinality, Encoded, GRPCError, Status


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (GroupStoppedError("off"), Status.INTERNAL),
        (OverloadedError("full"), Status.RESOURCE_EXHAUSTED),
        (ValueError("a gap"), Status.INVALID_ARGUMENT),
        (TrioraftError("odd"), Status.INTERNAL),
    ],
)
async def test_failures_have_their_status(failure: Exception, status: Status) -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.group.failure = failure
        vote = wrap(msgpack.packb([[[5, 1], False], None]))
        for method, body in [("Vote", vote), ("AppendEntries", append_bytes(None))]:
            with pytest.raises(GRPCError, match=str(failure)) as raised:
                await unary(wire, method, body)
            assert raised.value.status is status
        async with wire.transport.open_append_stream(heartbeat=True) as stream:
            await stream.send([append(-1, 0, heartbeat=True)])
            with pytest.raises(PeerUnreachableError, match=f"{status.name}: {failure}"):
                await received(stream)


async def test_no_group() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        wire.router.group = None
        with pytest.raises(PeerUnreachableError, match="UNAVAILABLE: this node has no group"):
            await wire.transport.request_vote(VoteRequest(T5, "1", -1, 0))


ZSTD = Encoded(bytes.fromhex("28b52ffd2000010000"))


@pytest.mark.parametrize("method", ["Vote", "AppendEntries", "TransferLeader"])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (ZSTD, "zstd"),
        (Encoded(b""), "cut short"),
        (Encoded(b"\xff"), "not a RaftPayload"),
        (wrap(b"\xc1"), "deserialize"),
        (wrap(b"\x91" * 5000), "deserialize"),
        (wrap(b"\xdd\xff\xff\xff\xff"), "deserialize"),
    ],
)
async def test_bad_input_is_an_invalid_argument(method: str, body: Encoded, problem: str) -> None:
    async with wired(OPENRAFT, "1", "2") as wire:
        with pytest.raises(GRPCError, match=problem) as raised:
            await unary(wire, method, body)
        assert raised.value.status is Status.INVALID_ARGUMENT


async def test_bad_input_ends_a_stream_instead_of_skipping_an_answer() -> None:
    async with wired(OPENRAFT, "1", "2") as wire:

        async def send() -> None:
            async with raw(wire, "StreamAppend", Cardinality.STREAM_STREAM) as stream:
                await stream.send_message(append_bytes(None))
                assert await stream.recv_message() is not None
                await stream.send_message(wrap(b"\xc1"))
                await stream.recv_message()

        with pytest.raises(GRPCError, match="deserialize") as raised:
            await send()
        assert raised.value.status is Status.INVALID_ARGUMENT
