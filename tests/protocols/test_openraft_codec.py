"""openraft messages: golden bytes, round trips, and input that no correct peer sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trioraft._proto.openraft.raft_pb2 import RaftPayload
from trioraft.node.peers import SnapshotChunk
from trioraft.protocols.openraft.entries import encode_entry, read_entry
from trioraft.protocols.openraft.membership import (
    membership_value,
    read_membership,
    read_stored_membership,
    stored_membership_value,
)
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
from trioraft.protocols.openraft.terms import next_term, node_number, pack_term, unpack_term
from trioraft.protocols.openraft.values import (
    log_id_value,
    pack,
    read_log_id,
    read_vote,
    reader,
    unpack,
    vote_value,
)
from trioraft.raft.types import (
    AppendReply,
    AppendRequest,
    Configuration,
    Entry,
    EntryKind,
    Member,
    Session,
    SnapshotFile,
    SnapshotMeta,
    SnapshotReply,
    SnapshotRequest,
    StartElection,
    VoteReply,
    VoteRequest,
)
from trioraft.rpc import GRPCError, Status

T52, T41, T63 = pack_term(5, 2), pack_term(4, 1), pack_term(6, 3)
ONE = Configuration((Member("1", "a:1"),))


def h(text: str) -> bytes:
    return bytes.fromhex(text)


def read_one(data: bytes) -> Entry:
    with reader(data) as unpacker:
        return read_entry(unpacker, data)


# ---- golden bytes of ids


@pytest.mark.parametrize(
    ("golden", "term", "index"),
    [
        ("92 92 05 02 07", T52, 7),
        (
            "92 92 cd 01 2c ce 00 01 11 70 cf 00 00 00 01 00 00 00 00",
            pack_term(300, 70000),
            2**32,
        ),
        ("c0", 0, -1),
    ],
)
def test_log_ids(golden: str, term: int, index: int) -> None:
    assert pack(log_id_value(term, index)) == h(golden)
    assert read_log_id(unpack(h(golden))) == (term, index)


def test_named_log_id_and_vote() -> None:
    named_leader = "82 a4 7465726d 05 a7 6e6f64655f6964 02"
    log_id = h(f"82 a9 6c65616465725f6964 {named_leader} a5 696e646578 07")
    assert read_log_id(unpack(log_id)) == (T52, 7)
    vote = h(f"82 a9 6c65616465725f6964 {named_leader} a9 636f6d6d6974746564 c3")
    assert read_vote(unpack(vote)) == (T52, True)


@pytest.mark.parametrize("golden", ["92 05 07", "82 a9 6c65616465725f6964 05 a5 696e646578 07"])
def test_single_term_leader_mode_is_recognized_and_refused(golden: str) -> None:
    with pytest.raises(ValueError, match="single-term-leader"):
        read_log_id(unpack(h(golden)))


@pytest.mark.parametrize(
    ("golden", "committed"), [("92 92 05 02 c2", False), ("92 92 05 02 c3", True)]
)
def test_votes(golden: str, committed: bool) -> None:
    assert pack(vote_value(T52, committed=committed)) == h(golden)
    assert read_vote(unpack(h(golden))) == (T52, committed)


def test_pristine_vote() -> None:
    assert read_vote(unpack(h("92 92 00 03 c2"))) == (3, False)


# ---- golden bytes of memberships and entries


def test_uniform_membership() -> None:
    golden = h("92 91 93 01 02 03 83 01 91 a3 61 3a 31 02 91 a3 62 3a 32 03 91 a3 63 3a 33")
    configuration = read_membership(unpack(golden))
    assert configuration == Configuration(
        (Member("1", "a:1"), Member("2", "b:2"), Member("3", "c:3"))
    )
    # What trioraft writes has a scheme, because peers hand addresses to a URI parser.
    written = unpack(pack(membership_value(configuration)))
    assert written == [[[1, 2, 3]], {1: ["http://a:1"], 2: ["http://b:2"], 3: ["http://c:3"]}]


def test_joint_membership_with_a_learner() -> None:
    golden = h("92 92 93 01 02 03 93 01 02 04 85 01 90 02 90 03 90 04 90 09 90")
    configuration = read_membership(unpack(golden))
    assert [m.id for m in configuration.voters] == ["1", "2", "4"]
    assert [m.id for m in configuration.old_voters] == ["1", "2", "3"]
    assert [m.id for m in configuration.learners] == ["9"]
    assert pack(membership_value(configuration)) == golden


def test_empty_membership() -> None:
    assert read_membership(unpack(h("92 90 80"))) == Configuration(())
    assert pack(membership_value(Configuration(()))) == h("92 90 80")


@pytest.mark.parametrize(
    ("golden", "entry"),
    [
        ("92 92 92 05 02 07 a5 42 6c 61 6e 6b", Entry(T52, 7, EntryKind.BLANK, b"")),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c a1 78",
            Entry(T52, 8, EntryKind.WRITE, b"\xc1\xa1x"),
        ),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c c4 01 78",
            Entry(T52, 8, EntryKind.WRITE, b"x"),
        ),
        (
            "92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c 93 c4 01 63 09 c4 01 78",
            Entry(T52, 8, EntryKind.WRITE, b"x", Session(b"c", 9)),
        ),
    ],
)
def test_entries(golden: str, entry: Entry) -> None:
    assert read_one(h(golden)) == entry
    assert encode_entry(entry) == h(golden)


def test_first_log_of_a_cluster() -> None:
    golden = h(
        "92 92 92 00 01 00 81 aa 4d 65 6d 62 65 72 73 68 69 70 92 91 91 01 81 01 91 a3 61 3a 31"
    )
    entry = read_one(golden)
    assert (entry.term, entry.index, entry.kind) == (1, 0, EntryKind.CONFIGURATION)
    assert Configuration.decode(entry.data) == ONE


def test_entry_of_another_application_goes_out_as_it_came() -> None:
    # One Put("Node", 6b -> 80), as CoordiNode proposes it.
    application = h("91 91 95 01 91 81 a3 50 75 74 93 a4 4e 6f 64 65 91 6b 91 cc 80 0a 09 c2")
    golden = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c") + application
    entry = read_one(golden)
    assert entry.data == b"\xc1" + application
    assert encode_entry(entry) == golden


@pytest.mark.parametrize(
    "golden",
    [
        "82 a6 6c6f675f6964 92 92 05 02 07 a7 7061796c6f6164 a5 42 6c 61 6e 6b",
        "92 92 92 05 02 07 00",
        "92 92 92 05 02 07 81 a5 42 6c 61 6e 6b c0",
    ],
)
def test_other_spellings_of_a_blank_entry(golden: str) -> None:
    assert read_one(h(golden)) == Entry(T52, 7, EntryKind.BLANK, b"")


# ---- golden bytes of requests and answers


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


STORED = "92 92 92 00 01 00 92 91 91 01 81 01 91 a3 61 3a 31"


def test_stored_memberships() -> None:
    assert read_stored_membership(unpack(h(STORED))) == (0, ONE)
    assert read_stored_membership(unpack(h("92 c0 92 90 80"))) == (-1, Configuration(()))
    meta = SnapshotMeta(7, T52, Configuration(()), configuration_index=-1)
    assert pack(stored_membership_value(meta)) == h("92 c0 92 90 80")


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


# ---- terms


def test_order_of_votes_is_the_order_of_integers() -> None:
    pairs = [(0, 0), (0, 7), (1, 0), (1, 2**64 - 1), (2, 0), (2**63 - 1, 3)]
    packed = [pack_term(*pair) for pair in pairs]
    assert packed == sorted(packed)
    assert [unpack_term(term) for term in packed] == pairs


@settings(deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_next_term_is_the_next_number_in_ones_own_name(
    term: int, owner: int, node: int
) -> None:
    following = next_term(pack_term(term, owner), str(node))
    assert unpack_term(following) == (term + 1, node)
    assert following > pack_term(term, owner)


@pytest.mark.parametrize("text", ["", "n1", "-1", "01", "1.0", "²", str(2**64), "9" * 5000])
def test_node_ids_that_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="no node id of openraft"):
        node_number(text)


# ---- round trips

numbers = st.integers(0, 2**63 - 1)
terms = st.builds(pack_term, st.integers(1, 2**63 - 1), st.integers(0, 2**64 - 1))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.binary(max_size=8)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
payloads = st.binary() | st.binary().map(lambda data: b"\xc1" + data)
sessions = st.none() | st.builds(Session, st.binary(max_size=20), st.integers(0, 2**64 - 1))


@settings(deadline=None)
@given(terms, numbers, payloads, sessions)
def test_own_writes_round_trip(term: int, index: int, data: bytes, session: Session | None) -> None:
    entry = Entry(term, index, EntryKind.WRITE, data, session)
    assert read_one(encode_entry(entry)) == entry


@settings(deadline=None)
@given(values)
def test_any_application_data_goes_out_as_it_came(value: object) -> None:
    raw = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c") + msgpack.packb(value)
    assert encode_entry(read_one(raw)) == raw


def test_application_data_in_unusual_spelling_goes_out_as_it_came() -> None:
    for data in ("c5 00 01 78", "93 c4 01 63 cc 09 c4 01 78", "93 c4 01 63 09 d9 01 78"):
        raw = h("92 92 92 05 02 08 81 a6 4e 6f 72 6d 61 6c" + data)
        assert read_one(raw).data == b"\xc1" + h(data)
        assert encode_entry(read_one(raw)) == raw


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    ids = sorted(draw(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=6)))
    everybody = [Member(str(number), draw(st.text(max_size=9))) for number in ids]
    roles = draw(st.lists(st.sampled_from("vob l"), min_size=len(ids), max_size=len(ids)))
    voters = [m for m, role in zip(everybody, roles, strict=True) if role in "vb"]
    old = [m for m, role in zip(everybody, roles, strict=True) if role in "ob"]
    voters = voters or everybody[:1]
    voting = [*voters, *old]
    learners = [m for m in everybody if m not in voting]
    return Configuration(tuple(voters), tuple(learners), tuple(old))


@settings(deadline=None)
@given(configurations())
def test_memberships_round_trip(configuration: Configuration) -> None:
    again = read_membership(unpack(pack(membership_value(configuration))))
    strip = [m.address.removeprefix("http://") for m in configuration.members()]
    assert [m.address for m in again.members()] == strip
    assert [m.id for m in again.voters] == [m.id for m in configuration.voters]
    assert [m.id for m in again.learners] == [m.id for m in configuration.learners]
    assert [m.id for m in again.old_voters] == [m.id for m in configuration.old_voters]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), payloads, sessions), max_size=5), st.integers(-1, 99))
def test_appends_round_trip(bodies: list[tuple[int, bytes, Session | None]], prev: int) -> None:
    entries = [
        Entry(pack_term(term, 1), prev + 1 + number, EntryKind.WRITE, data, session)
        for number, (term, data, session) in enumerate(bodies)
    ]
    prev_term = pack_term(1, 1) if prev >= 0 else 0
    request = AppendRequest(T52, "2", prev, prev_term, entries, prev)
    assert decode_append(b"".join(encode_append(request, (prev_term, prev)))) == request


# ---- requests that cannot be


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("", "cut short"),
        ("94 92 92 05 02 c3 c0 90", "cut short"),
        ("94 92 92 05 02 c3 c0 90 c0 c0", "1 trailing bytes"),
        ("93 92 92 05 02 c3 c0 90", "deserialize"),
        ("94 92 92 05 02 c2 c0 90 c0", "not committed"),
        ("94 92 92 05 02 01 c0 90 c0", "boolean"),
        ("94 92 92 05 ff c3 c0 90 c0", "-1 is not from 0"),
        ("94 92 92 cf 80 00 00 00 00 00 00 00 02 c3 c0 90 c0", "is not from 0"),
        ("94 92 92 05 02 c3 92 92 05 02 ff 90 c0", "-1 is not from 0"),
        ("94 92 92 05 02 c3 c0 dd ff ff ff ff c0", "4294967295 entries"),
        ("94 92 92 05 02 c3 dd ff ff ff ff c0", "max_array_len"),
        ("94 92 92 05 02 c3 92 92 05 02 07 91 92 92 92 05 02 09 a5 42 6c 61 6e 6b c0", "9 where 8"),
        ("94 92 92 05 02 c3 c0 91 92 c0 a5 42 6c 61 6e 6b c0", "without a log id"),
        ("94 92 92 05 02 c3 c0 91 92 92 92 05 02 00 a6 4e 6f 72 6d 61 6c c0", "Normal without"),
        ("94 92 92 05 02 c3 c0 91 92 92 92 05 02 00 81 a1 58 c0 c0", "variant 'X'"),
        ("94 81 90 c0 c0 90 c0", "unhashable"),
    ],
)
def test_appends_that_are_refused(data: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_append(h(data))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([[[1, 1]], {1: ["a"]}], "named twice"),
        ([[[1, 2]], {1: ["a"]}], "voter 2 is not among"),
        ([[[]], {}], "at least one"),
        ([[[1], [1], [1]], {1: ["a"]}], "3 voter sets"),
        ([[[-1]], {-1: ["a"]}], "-1 is not from"),
        ([[["1"]], {"1": ["a"]}], "an integer is expected"),
        ([[[1]], {1: ["a", "b"]}], "2 fields"),
        ([[[1]], {1: [5]}], "node address"),
        ([{}, {}], "a list of sets"),
    ],
)
def test_memberships_that_are_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_membership(value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({0: [[5, 2], False]}, "not committed"),
        ({1: [None, [None, [[], {}]], "x"]}, "a snapshot of nothing"),
        ({1: [[[5, 2], 7], [[[5, 2], 8], [[], {}]], "x"]}, "membership 8"),
        ({2: -1}, "-1 is not from"),
    ],
)
def test_snapshot_headers_that_are_refused(change: dict[int, object], problem: str) -> None:
    fields: list[object] = [[[5, 2], True], [[[5, 2], 7], [None, [[], {}]], "x"], 3, None]
    for position, value in change.items():
        fields[position] = value
    with pytest.raises(ValueError, match=problem):
        decode_snapshot_header(pack({"Header": fields}))


def test_incremental_snapshots_are_refused() -> None:
    fields = [[[5, 2], True], [[[5, 2], 7], [None, [[], {}]], "x"], 3, 99]
    with pytest.raises(GRPCError) as raised:
        decode_snapshot_header(pack({"Header": fields}))
    assert raised.value.status is Status.UNAVAILABLE


@settings(deadline=None)
@given(st.binary(max_size=60))
@example(b"\x94\x00\xd2\x00\x00\x00\x00\x91")  # ends where an entry begins
def test_noise_is_refused_by_a_value_error_or_read(data: bytes) -> None:
    for decode in (decode_append, decode_vote, decode_transfer):
        try:
            decode(data)
        except ValueError:
            continue


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ValueError, match="deserialize"):
        decode_vote(b"\x91" * 100_000)


# ---- the term of the commit index


def run(prev: int, prev_term: int, *entry_terms: int, leader: int = 9) -> AppendRequest:
    entries = [
        Entry(term, prev + 1 + number, EntryKind.WRITE, b"")
        for number, term in enumerate(entry_terms)
    ]
    return AppendRequest(leader, "9", prev, prev_term, entries, -1)


def test_positions_follow_the_requests() -> None:
    known = Positions()
    known.note(run(4, 2, 2, 3, 3))
    assert known.commit(3) == (0, -1)  # before anything that was passed
    assert known.commit(4) == (2, 4)
    assert known.commit(6) == (3, 6)
    assert known.commit(100) == (3, 7)  # no further than what was passed
    known.note(run(7, 3, 5))
    assert known.commit(8) == (5, 8)
    known.note(run(7, 3))  # a heartbeat on the other stream changes nothing
    assert known.commit(8) == (5, 8)


def test_positions_forget_when_the_leader_changes_or_goes_back() -> None:
    known = Positions()
    known.note(run(4, 2, 3))
    known.note(run(9, 8, leader=10))
    assert known.commit(5) == (0, -1)
    assert known.commit(9) == (8, 9)
    known.note(run(2, 1, 2, leader=10))  # too far back to be of use
    assert known.commit(9) == (8, 9)
    known.note(run(5, 2, 2, 2, 7, leader=10))
    assert known.commit(6) == (2, 6)
    assert known.commit(9) == (8, 9)


@settings(deadline=None)
@given(st.data())
def test_positions_are_never_wrong(data: st.DataObject) -> None:
    log = sorted(data.draw(st.lists(st.integers(1, 6), min_size=20, max_size=20)))
    known = Positions()
    for _ in range(data.draw(st.integers(1, 12))):
        prev = data.draw(st.integers(-1, 19))
        count = data.draw(st.integers(0, min(6, 19 - prev)))
        prev_term = log[prev] if prev >= 0 else 0
        request = run(prev, prev_term, *log[prev + 1 : prev + 1 + count])
        known.note(request)
        asked = data.draw(st.integers(-1, 19))
        term, index = known.commit(asked)
        assert index <= asked
        assert term == (log[index] if index >= 0 else 0)


def test_payload_message_is_the_wires() -> None:
    assert RaftPayload.DESCRIPTOR.full_name == "coordinode.v1.replication.RaftPayload"
