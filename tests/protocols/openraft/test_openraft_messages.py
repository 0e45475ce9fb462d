"""openraft's requests, answers and snapshots: golden bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import msgpack
import pytest
from openraft_bytes import ONE, STORED, T41, T52, T63, h

from trioraft._proto.openraft.raft_pb2 import RaftPayload
from trioraft.node.peers import SnapshotChunk
from trioraft.protocols.openraft.messages import (
    decode_append,
    decode_append_result,
    decode_transfer,
    decode_vote,
    decode_vote_reply,
    encode_append,
    encode_append_response,
    encode_append_result,
    encode_transfer,
    encode_vote,
    encode_vote_reply,
)
from trioraft.protocols.openraft.payload import unwrap, wrap
from trioraft.protocols.openraft.positions import Positions
from trioraft.protocols.openraft.snapshots import (
    decode_snapshot_header,
    decode_snapshot_response,
    encode_snapshot_response,
    snapshot_messages,
)
from trioraft.protocols.openraft.terms import pack_term
from trioraft.protocols.openraft.values import unpack
from trioraft.raft.messages import (
    AppendReply,
    AppendRequest,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.raft.types import Entry, EntryKind, SnapshotFile, SnapshotMeta


def test_vote_requests() -> None:
    two = h("92 92 92 06 03 c2 92 92 05 02 07")
    request = VoteRequest(T63, "3", 7, T52)
    assert encode_vote(request) == two
    assert decode_vote(two) == request
    assert decode_vote(h("93 92 92 06 03 c2 92 92 05 02 07 c2")) == request
    transfer = VoteRequest(T63, "3", -1, 0, transfer=True)
    assert encode_vote(transfer) == h("93 92 92 06 03 c2 c0 c3")
    assert decode_vote(h("93 92 92 06 03 c2 c0 c3")) == transfer
    with pytest.raises(ValueError, match="pre-vote"):
        encode_vote(VoteRequest(T63, "3", 7, T52, pre=True))


def test_vote_replies() -> None:
    request = VoteRequest(T63, "3", 7, T52)
    granted = VoteReply(T63, "1", True, last_index=7, last_term=T52)
    assert encode_vote_reply(granted) == h("93 92 92 06 03 c2 c3 92 92 05 02 07")
    assert decode_vote_reply("1", request, encode_vote_reply(granted)) == granted
    rejected = VoteReply(T52, "1", False, leader="2", last_index=9, last_term=T52)
    assert encode_vote_reply(rejected) == h("93 92 92 05 02 c3 c2 92 92 05 02 09")
    assert decode_vote_reply("1", request, encode_vote_reply(rejected)) == rejected


def test_a_grant_of_another_ballot_does_not_count() -> None:
    request = VoteRequest(T63, "3", 7, T52)
    reply = decode_vote_reply("1", request, h("93 92 92 06 02 c2 c3 c0"))
    assert (reply.granted, reply.term) == (False, pack_term(6, 2))


APPENDS = [
    (
        "94 92 92 05 02 c3 92 92 05 02 07 90 92 92 05 02 06",
        AppendRequest(T52, "2", 7, T52, [], 6),
        (T52, 6),
    ),
    ("94 92 92 05 02 c3 c0 90 c0", AppendRequest(T52, "2", -1, 0, [], -1), (0, -1)),
    (
        "94 92 92 05 02 c3 92 92 04 01 06 92 92 92 92 05 02 07 a5 42 6c 61 6e 6b"
        "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c a1 78 92 92 04 01 06",
        AppendRequest(
            T52,
            "2",
            6,
            T41,
            [
                Entry(T52, 7, EntryKind.BLANK, b""),
                Entry(T52, 8, EntryKind.WRITE, b"\xc1\xa1x"),
            ],
            6,
        ),
        (T41, 6),
    ),
]


@pytest.mark.parametrize(("golden", "request_", "commit"), APPENDS)
def test_appends(golden: str, request_: AppendRequest, commit: tuple[int, int]) -> None:
    assert decode_append(h(golden)) == request_
    assert b"".join(encode_append(request_, commit)) == h(golden)
    positions = Positions()
    positions.note(request_)
    expected = commit if commit[1] >= request_.prev_index else (0, -1)
    assert positions.commit(request_.commit) == expected


def test_named_append() -> None:
    def log_id(index: int) -> dict[str, object]:
        return {"leader_id": {"term": 5, "node_id": 2}, "index": index}

    data = msgpack.packb(
        {
            "vote": {"leader_id": {"term": 5, "node_id": 2}, "committed": True},
            "entries": [{"payload": {"Normal": "x"}, "log_id": log_id(8), "new": [1, {}]}],
            "prev_log_id": log_id(7),
            "unknown": {"a": 1},
        }
    )
    entry = Entry(T52, 8, EntryKind.WRITE, b"\xc1\xa1x")
    assert decode_append(data) == AppendRequest(T52, "2", 7, T52, [entry], -1)


AFTER_7 = AppendRequest(T52, "2", 7, T52, [Entry(T52, 8, EntryKind.BLANK, b"")], 6, round=4)
AFTER_6 = AppendRequest(T52, "2", 6, T41, [], 6, round=4)
FROM_NOTHING = AppendRequest(T52, "2", -1, 0, [], -1)


@pytest.mark.parametrize(
    ("golden", "request_", "reply"),
    [
        (
            "81 a2 4f 6b 92 92 05 02 08",
            AFTER_7,
            AppendReply(T52, "1", True, match_index=8, commit=6, round=4),
        ),
        ("81 a2 4f 6b c0", FROM_NOTHING, AppendReply(T52, "1", True)),
        (
            "81 a3 45 72 72 81 a8 43 6f 6e 66 6c 69 63 74 92 92 04 01 06",
            AFTER_6,
            AppendReply(T52, "1", False, rejected_prev=6, hint_index=5, round=4),
        ),
        (
            "81 a3 45 72 72 81 aa 48 69 67 68 65 72 56 6f 74 65 92 92 06 03 c2",
            AFTER_6,
            AppendReply(T63, "1", False, rejected_prev=6, round=4),
        ),
    ],
)
def test_stream_append_results(golden: str, request_: AppendRequest, reply: AppendReply) -> None:
    assert encode_append_result(request_, reply) == (h(golden), reply.success)
    assert decode_append_result("1", request_, h(golden)) == reply


def test_unary_append_responses() -> None:
    success = AppendReply(T52, "1", True, match_index=8)
    conflict = AppendReply(T52, "1", False, rejected_prev=7)
    higher = AppendReply(T63, "1", False)
    assert encode_append_response(AFTER_7, success) == h("a7 53 75 63 63 65 73 73")
    assert encode_append_response(AFTER_7, conflict) == h("a8 43 6f 6e 66 6c 69 63 74")
    assert encode_append_response(AFTER_7, higher) == h(
        "81 aa 48 69 67 68 65 72 56 6f 74 65 92 92 06 03 c2"
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("81 a2 4f 6b 92 92 05 02 09", "instead of"),  # beyond the request
        ("81 a2 4f 6b 92 92 05 02 07", "instead of"),  # of another request
        ("81 a3 45 72 72 81 a8 43 6f 6e 66 6c 69 63 74 92 92 04 01 06", "a conflict at"),
        (
            "81 a3 45 72 72 81 aa 48 69 67 68 65 72 56 6f 74 65 92 92 05 02 c3",
            "not higher",
        ),
        ("a2 4e 6f", "variant 'No'"),
        ("82 a2 4f 6b c0 a3 45 72 72 c0", "a variant of 2 entries"),
    ],
)
def test_answers_that_cannot_be(answer: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_append_result("1", AFTER_7, h(answer))


def test_transfer() -> None:
    golden = h("93 92 92 05 02 c3 03 92 92 05 02 08")
    request = StartElection(T52, "2", 8, T52)
    assert encode_transfer(request, "3") == golden
    assert decode_transfer(golden) == (request, "3")


async def test_snapshot_messages() -> None:
    golden = h(
        "81 a6 48 65 61 64 65 72 94 92 92 05 02 c3 93 92 92 05 02 07" + STORED + "a8"
        "73 6e 61 70 2d 37 2d 35 03 c0"
    )
    request = decode_snapshot_header(golden)
    meta = SnapshotMeta(7, T52, ONE, size=3, configuration_index=0)
    assert request == SnapshotRequest(T52, "2", meta)
    files = SnapshotFile("state", 3, 0), SnapshotFile("_sessions", 9, 0)
    told = SnapshotRequest(T52, "2", replace(meta, size=12, files=files))

    async def chunks() -> AsyncIterator[SnapshotChunk]:
        yield SnapshotChunk("state", b"\x01\x80\xff")
        yield SnapshotChunk("_sessions", bytes(9))

    header, chunk = [message async for message in snapshot_messages(told, chunks())]
    assert chunk == h("81 a9 44 61 74 61 43 68 75 6e 6b 93 01 cc 80 cc ff")
    assert decode_snapshot_header(header) == request
    assert unpack(header)["Header"][1][2] == "snap-7-5"


def test_snapshot_responses() -> None:
    meta = SnapshotMeta(7, T52, ONE)
    request = SnapshotRequest(T52, "2", meta)
    done = SnapshotReply(T52, "1", True, 7)
    assert encode_snapshot_response(request, done) == h("91 92 92 05 02 c3")
    assert decode_snapshot_response("1", request, h("91 92 92 05 02 c3")) == done
    refused = SnapshotReply(T63, "1", False)
    raw = encode_snapshot_response(request, refused)
    assert decode_snapshot_response("1", request, raw) == refused


def test_envelope() -> None:
    inner = h("81 a2 4f 6b 92 92 05 02 08")
    assert wrap(inner).SerializeToString() == h("0a 09") + inner
    assert unwrap(h("0a 09") + inner) == inner
    zstd = h("28 b5 2f fd 20 0b 59 00 00 0a 09") + inner
    with pytest.raises(ValueError, match="zstd"):
        unwrap(zstd)
    with pytest.raises(ValueError, match="not a RaftPayload"):
        unwrap(b"\x0a\xff")


def test_payload_message_is_the_wires() -> None:
    assert RaftPayload.DESCRIPTOR.full_name == "coordinode.v1.replication.RaftPayload"
